//! A products file for demos and tests, the same for the same seed.

use std::io::{self, Write};

use crate::random::Random;

/// What the sample should be like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Lines after the header.
    pub lines: u64,
    /// Every how many lines one is bad, in turns in each way that a line can be; at least 2,
    /// because a double needs a good line before it. Without it, none is.
    pub bad_every: Option<u64>,
    /// The same seed gives the same file.
    pub seed: u64,
}

/// Writes the header and the lines.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(options: Options, out: &mut dyn Write) -> io::Result<()> {
    let mut random = Random::new(options.seed, "sample");
    out.write_all(b"sku,name,price,quantity\n")?;
    for line in 1..=options.lines {
        let (colour, thing) = (random.pick(&COLOURS), random.pick(&THINGS));
        let name = format!("\"{colour} {thing}\"");
        let price = format!("{}.{:02}", random.below(500), random.below(100));
        let quantity = random.below(1_000);
        let bad = options.bad_every.filter(|every| line.is_multiple_of(*every));
        match bad.map(|every| (line / every) % 6) {
            None => writeln!(out, "P-{line:07},{name},{price},{quantity}")?,
            Some(1) => writeln!(out, "P-{line:07},{name},{price} EUR,{quantity}")?,
            Some(2) => writeln!(out, "P-{line:07},{name},{price},{quantity}.5")?,
            Some(3) => writeln!(out, ",{name},{price},{quantity}")?,
            Some(4) => writeln!(out, "P-{line:07},{name},{price}")?,
            Some(5) => {
                write!(out, "P-{line:07},Caf")?;
                out.write_all(b"\xe9")?; // Latin-1: not UTF-8.
                writeln!(out, ",{price},{quantity}")?;
            }
            Some(_) => writeln!(out, "P-0000001,{name},{price},{quantity}")?,
        }
    }
    out.flush()
}

const COLOURS: [&str; 6] = ["Red", "Blue", "Green", "White", "Black", "Écru"];
const THINGS: [&str; 6] = ["chair", "table", "lamp", "shelf, oak", "box", "mirror \"\"Lune\"\""];

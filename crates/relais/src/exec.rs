//! Any program as the handler of a task.
//!
//! The contract, also in `relais work --help`: the input is on standard input, the result is what
//! the program writes to standard output, its exit status is the outcome, and lines of JSON on file
//! descriptor 3 are its reports. Relais sends the heartbeats. Not here: leasing and settling.

mod ending;
mod environment;
mod outcome;
mod output;
mod process;
mod reports;

use relais_client::{Handler, Input, LeasedTask, Outcome, Reporter, Stop};
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;

use output::Captured;
use process::Program;

/// A program that runs tasks.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    /// A command line of the shell.
    pub(crate) command: String,
    /// The media type of its results; by their looks unless given.
    pub(crate) content_type: Option<String>,
    /// Largest result, bytes.
    pub(crate) result_bytes_max: u64,
}

impl Handler for Exec {
    fn run(
        &self,
        task: LeasedTask,
        reporter: Reporter,
    ) -> impl Future<Output = Outcome> + Send + 'static {
        let exec = self.clone();
        async move {
            match exec.attempt(&task, &reporter).await {
                Ok(outcome) => outcome,
                // Nothing the program did: another worker may have more luck.
                Err(error) => Outcome::fail(format!("could not run the program: {error:#}"), true),
            }
        }
    }
}

impl Exec {
    async fn attempt(self, task: &LeasedTask, reporter: &Reporter) -> anyhow::Result<Outcome> {
        let input = task.input().await?;
        let mut program = Program::start(&self.command, task)?;
        let fed = tokio::spawn(feed(program.take_input(), input));
        let reports = tokio::spawn(reports::forward(program.take_reports(), reporter.clone()));
        let last_words = tokio::spawn(output::last_words(program.take_errors()));
        let mut captured =
            tokio::spawn(Captured::read(program.take_output(), self.result_bytes_max));
        // A result over the limit ends the program: nobody will read the rest.
        let mut early = None;
        let stop = tokio::select! {
            ended = program.wait() => { ended?; None }
            why = reporter.stopped() => Some(why),
            done = &mut captured => {
                let done = done?;
                if matches!(done, Ok(None)) {
                    program.stop().await?;
                }
                early = Some(done);
                tokio::select! {
                    ended = program.wait() => { ended?; None }
                    why = reporter.stopped() => Some(why),
                }
            }
        };
        if stop.is_some() {
            program.stop().await?;
        }
        let status = program.wait().await?;
        // A child that it left behind may hold its pipes open for ever: that is not the outcome.
        let captured = async {
            match early {
                Some(done) => Ok(done),
                None => captured.await,
            }
        };
        let (captured, words, _, fed, ()) = tokio::join!(
            captured,
            last_words,
            process::soon(reports),
            process::soon(fed),
            program.end_pipes()
        );
        let (captured, words) = (captured?, words?);
        let input_error = fed.and_then(Result::err);
        if stop.is_some_and(|why| why != Stop::Draining || !status.success()) {
            return Ok(Outcome::Release);
        }
        if let Some(error) = input_error {
            return Ok(Outcome::fail(format!("could not read the input: {error}"), true));
        }
        Ok(outcome::of(status, captured?, &words, self.content_type, self.result_bytes_max))
    }
}

/// Gives the program its input. One that does not read it all has seen enough.
async fn feed(stdin: Option<ChildStdin>, mut input: Input) -> Result<(), relais_client::Error> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    while let Some(piece) = input.chunk().await? {
        if stdin.write_all(&piece).await.is_err() {
            return Ok(());
        }
    }
    let _ = stdin.shutdown().await;
    Ok(())
}

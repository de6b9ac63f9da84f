//! No merge is left half done: what git writes into a file where two sides differ is in none.

use super::Report;
use super::tree::Tree;

/// How git begins the lines above and below what two sides say.
const MARKERS: [&str; 2] = ["<<<<<<<", ">>>>>>>"];

/// Refuses lines that begin as git marks a conflict.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    for (path, text) in tree.files() {
        for (index, line) in text.lines().enumerate() {
            if MARKERS.iter().any(|marker| line.starts_with(marker)) {
                let what =
                    "a conflict that nobody has resolved: keep what is right, of either side";
                report.add(path, index + 1, "conflict", what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn what_git_marks_is_refused_in_any_file() {
        let [above, below] = MARKERS;
        let text = format!("a\n{above} HEAD\nb\n=======\nc\n{below} 5699cfa (Add c)\n");
        assert_eq!(found(check, &[("a.md", &text)]), ["a.md:2: conflict", "a.md:6: conflict"]);
    }

    #[test]
    fn the_same_in_the_midst_of_a_line_passes() {
        let text = format!("a {}\nTitle\n=======\n<<< b\n", MARKERS[0]);
        assert!(found(check, &[("a.md", &text)]).is_empty());
    }
}

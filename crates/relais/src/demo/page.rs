//! The shop's page, which the reader may look at in a browser while the story is told.

use super::call::{Answer, Call};
use super::story::Story;
use super::truth::ensure;

/// Checks that a browser gets the page through Relais, with the files that it loads.
///
/// # Errors
/// When something of it is not served.
pub(super) async fn check(story: &Story) -> anyhow::Result<()> {
    let page = load(story, "").await?;
    let text = String::from_utf8_lossy(&page.body);
    let files: Vec<&str> = linked(&text).collect();
    ensure(files.len() > 2, "a page with a script and styles", &page)?;
    for file in files {
        load(story, file).await?;
    }
    Ok(())
}

async fn load(story: &Story, path: &str) -> anyhow::Result<Answer> {
    let answer = story.caller.send(&Call::get(format!("{}{path}", story.stage.page()))).await?;
    ensure(answer.status() == 200, format!("200 OK of /{path}"), &answer)?;
    Ok(answer)
}

/// The files that a page names.
fn linked(page: &str) -> impl Iterator<Item = &str> {
    let names = page.split('"').filter(|name| name.starts_with("assets/"));
    names.filter(|name| name.ends_with(".css") || name.ends_with(".js"))
}

//! The end of the story: what was shown, and what the reader may try.

use super::call::without_ticket;
use super::story::Story;
use super::teller::time;

impl Story {
    pub(super) fn tell_end(&self) {
        let teller = &self.teller;
        teller.title("What was shown");
        for (index, step) in self.steps.iter().enumerate() {
            let number = index + 1;
            let (title, shown, took) = (step.title, &step.shown, time(step.took));
            teller.prose(&format!("{number}  {title:<60} {took:>8}"));
            teller.quiet(&format!(" {shown}"));
        }
        let lasted = time(self.lasted());
        teller.prose(&format!("   {:<60} {lasted:>8}", "all of it, with the starts"));
    }

    /// What to try while everything stays up.
    pub(super) fn tell_what_to_try(&self) {
        let (teller, stage) = (&self.teller, &self.stage);
        let (door, admin, shop) = (stage.door(), stage.admin(), stage.shop_url());
        teller.title("Everything stays up until Ctrl-C");
        teller.prose(&format!("the shop's page           {}", stage.page()));
        teller.prose(&format!("front door and task API   {door}"));
        teller.prose(&format!("its description           {door}/v1/openapi.json"));
        teller.prose(&format!("administration, metrics   {admin}/metrics"));
        teller.prose(&format!("the shop itself           {shop}"));
        if let Some(import) = &self.import {
            teller.prose("the import, in a browser:");
            // Whole, although it is long: a browser needs the ticket.
            teller.line(&import.watch);
        }
        teller.title("To try in another terminal");
        teller.command(&format!("cd {} && . ./names", stage.folder().display()));
        for line in [
            "curl -i $RELAIS/suppliers/acme/stock",
            "curl -i -H 'Prefer: respond-async' $RELAIS/suppliers/acme/stock",
            "curl -i -H 'Prefer: respond-async' $RELAIS/suppliers/flaky-2/stock",
            "curl -s -H 'Content-Type: text/csv' --data-binary @products.csv $RELAIS/imports",
            "relais tasks",
            "relais queues show imports",
        ] {
            teller.command(line);
        }
        if let Some(import) = &self.import {
            teller.command(&format!("relais watch {}", import.id));
            teller.command("curl -N -H 'Accept: text/event-stream' \"$IMPORT_EVENTS\"");
        }
        let logs = stage.logs().map(|log| log.display().to_string());
        teller.prose(&format!("Logs: {}", logs.join(" ")));
    }

    /// Says what did not come true, and what the programs said last.
    pub(super) fn tell_failure(&mut self, error: &anyhow::Error) {
        let words = self.stage.last_words();
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let text = without_ticket(&causes.join("\n"));
        self.teller.wrong(&format!("The story did not come true.\n{text}"));
        self.teller.line(&format!("\n{words}"));
    }
}

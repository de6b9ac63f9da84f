//! Sessions of browsers.

use std::convert::Infallible;

use relais_core::TaskId;
use relais_core::session::change;

use super::state::{Inner, KeptSession};
use crate::commit::{Committed, Rejected, SessionOf};

impl Inner {
    pub(super) fn change_session(&mut self, of: &SessionOf) -> Result<Committed, Rejected> {
        let stored = self.sessions.get(&of.id_mac).map(|kept| kept.session.clone());
        let is_over = |id: TaskId| {
            let task = self.tasks.get(&id);
            Ok::<_, Infallible>(task.is_none_or(|row| row.task.life.status().is_terminal()))
        };
        let Ok((session, reply)) = change(stored, &of.op, of.now, is_over);
        match (session, self.sessions.get_mut(&of.id_mac)) {
            (Some(session), Some(kept)) => kept.session = session,
            (Some(session), None) => {
                let begun_by = of.begun_by().expect("only a task begins a session");
                let source = of.source;
                let count = |is_such: &dyn Fn(&KeptSession) -> bool| {
                    self.sessions.values().filter(|kept| is_such(kept)).count() as u64
                };
                let of_task = count(&|kept| kept.begun_by == begun_by);
                let of_source = count(&|kept| source.is_some() && kept.source == source);
                of.has_room(self.sessions.len() as u64, of_task, of_source)?;
                self.sessions.insert(of.id_mac, KeptSession { begun_by, source, session });
            }
            (None, _) => {
                self.sessions.remove(&of.id_mac);
            }
        }
        Ok(Committed::Session(reply))
    }
}

//! Creates Jobs of attempts. The name is the lock.

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::{Applied, Error, Writer, owned_by, status_code};
use crate::{
    admission::Needs,
    controller::{
        expectations::{Kind, Wrote},
        left::Kept,
    },
    observe::automation_run::is_leaving,
    plan::{Refusal, RefusalKind},
};

impl Writer<'_> {
    /// Creates the first Job of a run that was let in with this.
    pub(super) async fn create_let_in(
        &self,
        (name, run_uid): (&str, &str),
        needs: &Needs,
        object: &Value,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let room = &self.context.room;
        // From here on it may be there, whatever we hear of it.
        let again = room.send(self.namespace, run_uid, needs, self.context.clock.now())?;
        let refusal = self.create_job(name, run_uid, object, applied).await?;
        // What was sent before may be there all the same: a full quota is told before a name that is taken.
        if refusal.is_some_and(|refusal| refusal != RefusalKind::Refused || !again) {
            room.refused(self.namespace, run_uid);
        }
        Ok(())
    }

    /// Says how it was refused, where it was.
    pub(super) async fn create_job(
        &self,
        name: &str,
        run_uid: &str,
        object: &Value,
        applied: &mut Applied,
    ) -> Result<Option<RefusalKind>, Error> {
        let what = format!("create Job {name}");
        let jobs = Kept::of::<Job>(&self.context.client, self.namespace);
        match self.send("create", "jobs", name, jobs.create(object)).await? {
            Ok(created) => {
                applied.wrote.extend(Wrote::of(Kind::Job, &created));
                Ok(None)
            }
            Err(error) if status_code(&error) == 409 => {
                let there = self.api::<Job>().get_metadata(name).await.map_err(Self::error(what))?;
                if owned_by(&there, run_uid) {
                    return Ok(None);
                }
                let object = Self::object(object, name)?;
                let kind = if is_leaving(&there, &object) { RefusalKind::Leaving } else { RefusalKind::NameTaken };
                applied.refusals.push(Refusal { name: name.to_owned(), kind, message: error.to_string() });
                applied.ended = true;
                Ok(Some(kind))
            }
            Err(error) => {
                applied.ended = true;
                self.refusal(name, error, what, applied)?;
                Ok(Some(RefusalKind::Refused))
            }
        }
    }
}

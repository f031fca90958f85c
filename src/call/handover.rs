//! The conversation goes from one engine to another because somebody asked for it: the API, or the engine itself.
//!
//! ```text
//!   engine A speaks -- switch --> A is told `stop` --> B is dialled; the caller waits --> B speaks
//!                                                            | B fails
//!                                                            v
//!                                       B's own fallback, else what is for a lost engine
//! ```
//! Where a human has the caller there is no engine to dismiss: B is the one that the call has when an engine has it again.

use super::admission;
use super::command::CommandError;
use super::event::{Asker, EndReason};
use super::ids::EngineName;
use super::one::{Call, Hands, Link};
use super::record::Layer;
use super::voice::VoiceOrder;

/// Who gave the conversation to the engine that has it now.
#[derive(Debug, Clone)]
pub(super) struct Handover {
    from: EngineName,
    reason: Option<String>,
}

impl Handover {
    /// What the engine is told of it.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        let from = ("switched_from".to_owned(), self.from.to_string());
        let reason = self.reason.clone().map(|reason| ("switch_reason".to_owned(), reason));
        std::iter::once(from).chain(reason)
    }
}

impl Call {
    /// Another engine, whoever asked for it.
    pub(super) fn switch_engine(
        &mut self,
        hands: &mut Hands<'_>,
        name: &str,
        reason: Option<String>,
        by: Asker,
    ) -> Result<(), CommandError> {
        self.may_transfer()?;
        let engine = admission::engine_named(hands.settings, name)?;
        let is_another = engine.name != self.engine.name;
        if is_another && hands.standby.has_no_room(&engine, hands.settings) {
            return Err(CommandError::LimitCalls { scope: "engine" });
        }
        let had_caller = self.engine_in_use().is_some();
        if had_caller {
            hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::Transferred));
            self.link = Link::Idle;
        }
        let before = std::mem::replace(&mut self.engine, engine);
        // It begins afresh: whoever stands in for it may be one that the call has had.
        self.had_engines.clear();
        let asker = match by {
            Asker::Engine => "engine",
            Asker::Api => "api",
            Asker::Dtmf => "dtmf",
            Asker::Rule => "rule",
            Asker::Caller => "caller",
        };
        let why = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let detail = format!("{} to {}, asked for by {asker}{why}", before.name, self.engine.name);
        self.milestone(hands, Layer::Engine, "engine switched", Some(detail));
        self.handover = Some(Handover { from: before.name.clone(), reason });
        let name = self.engine.name.to_string();
        self.story.change(hands.outputs, |view| view.engine = Some(name));
        self.story.show(hands.outputs);
        if had_caller {
            hands.standby.moved(Some(&before), None);
            self.dial(hands);
            hands.standby.moved(None, Some(&before));
            self.let_wait(hands);
        }
        Ok(())
    }
}

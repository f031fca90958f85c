//! What the API asks of the exchange.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Ended, Exchange, KnownKey};
use crate::call::account::{Account, no_engine};
use crate::call::admission::{self, Full};
use crate::call::application::{Application, Run};
use crate::call::command::{
    Answer, CommandError, Control, PlaceCall, RecordMode, SwitchEngine, SwitchMode, TransferCall, WrapUp,
};
use crate::call::event::Asker;
use crate::call::ids::{CallId, ProviderKey, TenantId};
use crate::call::number;
use crate::call::one::Call;
use crate::call::outbound::Placement;
use crate::call::output::Output;
use crate::call::record::{CallRecord, Idempotency, Record};
use crate::call::settings::Provider;
use crate::call::view::Mode;

/// How long an `Idempotency-Key` is honoured (CONTRACT §1).
const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);

impl Exchange {
    pub(super) fn place(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        provider: &ProviderKey,
        call: Box<PlaceCall>,
        idempotency: Option<Idempotency>,
        application: Option<Application>,
    ) -> Result<Answer, CommandError> {
        let provider = self.provider(tenant, provider)?;
        if let Some(idempotency) = &idempotency
            && let Some(known) = self.keys.get(&(tenant.clone(), idempotency.key.clone()))
        {
            if known.fingerprint != idempotency.fingerprint {
                return Err(CommandError::IdempotencyConflict);
            }
            return Ok(Answer::Placed(known.record.clone()));
        }
        if self.draining.is_some() {
            return Err(CommandError::Draining);
        }
        if self.overload.is_late() {
            return Err(CommandError::Overloaded);
        }
        if self.is_store_behind() {
            return Err(CommandError::StoreBehind);
        }
        if !provider.trunk.is_outbound() {
            return Err(CommandError::ProviderInboundOnly);
        }
        if provider.trunk.targets.is_empty() {
            return Err(CommandError::ProviderUnreachable { why: provider.trunk.names.missing.join("; ") });
        }
        let workflow = match call.workflow.as_deref() {
            Some(name) => Some(admission::workflow(&self.settings, name)?),
            None => None,
        };
        let asked = call.engine.as_deref().or(workflow.map(|workflow| workflow.engine.as_str()));
        let engine = match &application {
            Some(_) => no_engine(),
            None => admission::engine_of(&self.settings, &provider, asked)?,
        };
        let handling = workflow.map_or(&provider.default_handling, |workflow| &workflow.handling).clone();
        let handling = match &application {
            Some(_) => Arc::new(admission::without_humans(&handling)),
            None => handling,
        };
        let usual = workflow.map_or(provider.default_mode, |workflow| workflow.mode);
        let mode = call.mode.unwrap_or(usual);
        let record = call.record.unwrap_or(handling.record);
        if record != RecordMode::Off && self.settings.recording.is_none() {
            return Err(CommandError::RecordingOff);
        }
        if matches!(mode, Mode::Assist | Mode::Routing) && handling.humans.is_empty() {
            return Err(CommandError::ModeNoHuman);
        }
        if let Some(from) = &call.from {
            number::may_call_as(from, &provider.trunk)?;
        }
        number::destination(&call.to, &provider.trunk).map_err(|error| {
            self.tally.forbidden += u64::from(error.is_forbidden());
            error.at("to")
        })?;
        if self.standby.has_no_room(&engine, &self.settings) {
            return Err(CommandError::LimitCalls { scope: "engine" });
        }
        self.census.admit(now, &self.settings, &provider).map_err(|full| match full {
            Full::AtOnce(scope) => CommandError::LimitCalls { scope },
            Full::TooFast(scope, retry_after) => {
                self.tally.too_fast += 1;
                CommandError::LimitRate { scope, retry_after }
            }
        })?;
        self.tally.placed += 1;
        let id = CallId::new(self.outputs.wall().at(now), &mut self.chance);
        let webhook_url = self.receiver(call.webhook_url.clone(), &provider);
        let targets = match self.ways.get(&provider.key) {
            Some(ways) => ways.order(now, &mut self.chance).into(),
            None => provider.trunk.targets.iter().map(|at| at.target).collect(),
        };
        let placement = Placement {
            id,
            provider,
            engine,
            mode,
            handling,
            call,
            idempotency,
            webhook_url,
            targets,
            application,
        };
        let placed = Call::place(&mut self.hands(now), placement);
        let record = placed.story.record();
        self.calls.insert(id, placed);
        self.note_deadline(id);
        if let Some(idempotency) = record.idempotency.clone() {
            self.remember_key(now, tenant.clone(), idempotency, record.clone());
        }
        Ok(Answer::Placed(record))
    }

    /// Over the provider of the tenant's account.
    pub(super) fn place_for(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: Box<PlaceCall>,
        run: Run,
    ) -> Result<Answer, CommandError> {
        let account = self.account(tenant)?;
        let provider = account.provider.clone();
        self.place(now, tenant, &provider, call, None, Some(Application::new(account, run)))
    }

    pub(super) fn run(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: CallId,
        run: Run,
    ) -> Result<Answer, CommandError> {
        let account = self.account(tenant)?;
        let id = self.call_of(tenant, None, call)?;
        let outcome = self.with_call(now, id, |call, hands| call.run_ordered(hands, account, run));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    pub(super) fn end(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: CallId,
        only_before_answer: bool,
    ) -> Result<Answer, CommandError> {
        let id = self.call_of(tenant, None, call)?;
        let outcome = self.with_call(now, id, |call, hands| call.end_ordered(hands, only_before_answer));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    fn account(&self, tenant: &TenantId) -> Result<Arc<Account>, CommandError> {
        let account = self.settings.tenants.get(tenant).and_then(|tenant| tenant.account.clone());
        account.ok_or(CommandError::ProviderNotFound)
    }

    pub(super) fn transfer(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        provider: &ProviderKey,
        ordered: TransferCall,
    ) -> Result<Answer, CommandError> {
        let id = self.call_of(tenant, Some(provider), ordered.call_id)?;
        let outcome = self.with_call(now, id, |call, hands| call.transfer_ordered(hands, ordered));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    pub(super) fn switch_mode(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: CallId,
        ordered: SwitchMode,
    ) -> Result<Answer, CommandError> {
        let id = self.call_of(tenant, None, call)?;
        let outcome = self.with_call(now, id, |call, hands| call.mode_ordered(hands, ordered));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    pub(super) fn switch_engine(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: CallId,
        ordered: SwitchEngine,
    ) -> Result<Answer, CommandError> {
        let id = self.call_of(tenant, None, call)?;
        let SwitchEngine { engine, reason } = ordered;
        let outcome =
            self.with_call(now, id, |call, hands| call.switch_engine(hands, &engine, reason, Asker::Api));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    pub(super) fn control(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: CallId,
        control: Control,
    ) -> Result<Answer, CommandError> {
        let id = self.call_of(tenant, None, call)?;
        let outcome = self.with_call(now, id, |call, hands| call.controlled(hands, control));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    pub(super) fn send_dtmf(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        call: CallId,
        digits: &str,
    ) -> Result<Answer, CommandError> {
        let id = self.call_of(tenant, None, call)?;
        let digits: Result<Vec<media::Digit>, _> = digits.chars().map(media::Digit::try_from).collect();
        let digits =
            digits.map_err(|error| CommandError::Invalid { field: "digits", problem: error.to_string() })?;
        let outcome = self.with_call(now, id, |call, hands| call.send_dtmf(hands, digits));
        outcome.unwrap_or(Err(CommandError::CallAlreadyEnded)).map(|()| Answer::Accepted)
    }

    /// Sets the disposition and ends the call; of an ended call only the record is completed.
    pub(super) fn wrap_up(
        &mut self,
        now: Instant,
        tenant: &TenantId,
        provider: &ProviderKey,
        wrap_up: WrapUp,
    ) -> Result<Answer, CommandError> {
        let WrapUp { call_id, disposition, notes } = wrap_up;
        self.check_disposition(tenant, provider, call_id, &disposition)?;
        if let Some(Ended { record, .. }) = self.ended.get_mut(&call_id)
            && record.tenant == *tenant
            && record.view.provider == *provider
        {
            record.view.disposition = Some(disposition);
            record.view.notes = notes;
            let record = Arc::new(record.clone());
            self.outputs.keep(Record::Call(record.clone()));
            self.outputs.push(Output::Publish(record.clone()));
            return Ok(Answer::WrappedUp(Box::new(record.view.clone())));
        }
        let id = self.call_of(tenant, Some(provider), call_id)?;
        let view = self.with_call(now, id, |call, hands| call.wrap_up(hands, disposition, notes));
        view.map(|view| Answer::WrappedUp(Box::new(view))).ok_or(CommandError::CallNotFound)
    }

    /// A disposition that the call's workflow does not know is refused with those that it knows.
    fn check_disposition(
        &self,
        tenant: &TenantId,
        provider: &ProviderKey,
        id: CallId,
        disposition: &str,
    ) -> Result<(), CommandError> {
        let theirs = |record: &CallRecord| record.tenant == *tenant && record.view.provider == *provider;
        let running = self.calls.get(&id).filter(|call| theirs(call.story.kept()));
        let ended = self.ended.get(&id).filter(|ended| theirs(&ended.record));
        let handling = running.map(|call| &call.handling).or(ended.map(|ended| &ended.handling));
        let Some(allowed) = handling.map(|handling| &handling.dispositions) else { return Ok(()) };
        if allowed.is_empty() || allowed.iter().any(|allowed| allowed == disposition) {
            return Ok(());
        }
        let allowed: Vec<String> = allowed.iter().map(|allowed| format!("`{allowed}`")).collect();
        Err(CommandError::DispositionUnknown {
            disposition: disposition.to_owned(),
            allowed: allowed.join(", "),
        })
    }

    /// The live call, if it is this tenant's and this provider's.
    fn call_of(
        &self,
        tenant: &TenantId,
        provider: Option<&ProviderKey>,
        id: CallId,
    ) -> Result<CallId, CommandError> {
        if let Some(provider) = provider {
            self.provider(tenant, provider)?;
        }
        let is_theirs = |record: &CallRecord| {
            record.tenant == *tenant && provider.is_none_or(|provider| record.view.provider == *provider)
        };
        if let Some(call) = self.calls.get(&id)
            && is_theirs(call.story.kept())
        {
            return Ok(id);
        }
        match self.ended.get(&id) {
            Some(ended) if is_theirs(&ended.record) => Err(CommandError::CallAlreadyEnded),
            Some(_) | None => Err(CommandError::CallNotFound),
        }
    }

    fn provider(&self, tenant: &TenantId, key: &ProviderKey) -> Result<Arc<Provider>, CommandError> {
        let provider = self.settings.providers.get(key).filter(|provider| provider.tenant == *tenant);
        provider.cloned().ok_or(CommandError::ProviderNotFound)
    }

    pub(super) fn remember_key(
        &mut self,
        now: Instant,
        tenant: TenantId,
        idempotency: Idempotency,
        record: Arc<CallRecord>,
    ) {
        let Idempotency { key, fingerprint } = idempotency;
        self.key_expiries.insert((now + IDEMPOTENCY, tenant.clone(), key.clone()));
        self.keys.insert((tenant, key), KnownKey { fingerprint, record });
    }
}

//! Who did what to which session, when and from where: the audit log of an app's operators.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::error::Error;
use crate::{
    clock::Timestamp,
    data::Data,
    engine::{
        Engine,
        audit::{self, AUDIT_USER, Completion},
        change::Draft,
        client::{Listing, Of},
        context::Context,
        events::EndedBy,
        line::{Line, LineOf},
    },
    id::{Digits, Handle},
    record::{Loaded, Record},
    store::Cursor,
};

/// How many fields of one act a line names.
const FIELDS_MAX: usize = 100;

/// How many characters the texts of an operator may have. The rest is cut off.
const TEXT_MAX: usize = 256;

/// Somebody who looks after the sessions of an app. [`Sessions::operated_by`](crate::Sessions::operated_by) writes down what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    name: String,
    from: Option<String>,
}

impl Operator {
    /// An operator of this name, such as their mail address. It is shortened to 256 characters, and
    /// control characters are replaced.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self { name: tidied(name.as_ref()), from: None }
    }

    /// The same, with where they act from, such as an address or the name of a machine.
    #[must_use]
    pub fn at(self, place: impl AsRef<str>) -> Self {
        Self { from: Some(tidied(place.as_ref())), ..self }
    }
}

fn tidied(text: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(TEXT_MAX).map(shown).collect()
}

/// A line of the audit log: one act of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditLine {
    /// When it began.
    pub at: Timestamp,
    /// Who did it.
    pub operator: String,
    /// Where they did it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What they did.
    pub act: AuditAct,
    /// To which session, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "handle")]
    pub session: Option<Handle>,
    /// To the sessions of which user, if it was to these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// To which top-level fields, at most 100: those that were changed or looked at, with hashes of
    /// their values and never the values, and those that the operator [named](crate::StoredSession::naming)
    /// besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, AuditField>,
    /// How many more fields there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_fields: usize,
    /// How many sessions ended by it, where there can be several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<usize>,
    /// What became of it.
    pub outcome: AuditOutcome,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What an operator does to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditAct {
    /// Changes the data of a session.
    Edit,
    /// Ends a session.
    End,
    /// Ends all sessions of a user, or of all.
    EndAll,
    /// Looks at values that are hidden otherwise.
    Reveal,
}

impl AuditAct {
    fn name(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::End => "end",
            Self::EndAll => "end-all",
            Self::Reveal => "reveal",
        }
    }
}

impl fmt::Display for AuditAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditOutcome {
    /// It is under way, or nobody wrote down how it went, because the process or the store failed. An
    /// edit, or the end of one session, was not done then if the store has
    /// [transactions](crate::store::Transactions).
    Begun,
    /// It was done.
    Done,
    /// It was refused, or there was nothing left to do, and nothing was changed.
    Refused,
    /// The store failed. A change or an end of one session was not made. An end of several may have
    /// ended some.
    Failed,
    /// The store did not say whether it was done. With transactions, an edit or the end of one session was
    /// not. An end of several may have ended some.
    Unknown,
}

impl AuditOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(Error::OutcomeUnknown) => Self::Unknown,
            Err(Error::Unavailable(_) | Error::Damaged(_) | Error::NoRandomness(_)) => Self::Failed,
            Err(_) => Self::Refused,
        }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A field before and after an act: the SHA-256 of its value as JSON, in hexadecimal digits, or `None`
/// where it was not there. A value that can be guessed can be told by its hash. Both are `None` where the
/// act named the field and did not change it. Where the operator looked at a hidden value, both are its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditField {
    /// What it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it was after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl AuditField {
    pub(super) fn of(before: Option<&Value>, after: Option<&Value>) -> Self {
        Self { before: before.map(hash), after: after.map(hash) }
    }
}

fn hash(value: &Value) -> String {
    let digest: [u8; 32] = Sha256::digest(value.to_string()).into();
    Digits::of(digest).as_str().to_owned()
}

/// What a change makes of the fields.
pub(super) fn changed_fields(draft: &Draft<'_>) -> BTreeMap<String, AuditField> {
    let changed = draft.changed().filter_map(|name| {
        let (before, after) = (draft.stored().get(name), draft.get(name));
        (before != after).then(|| (name.to_owned(), AuditField::of(before, after)))
    });
    changed.collect()
}

/// A part of the audit log, the newest line first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditPage {
    /// The lines of this page. There may be none, and yet more pages.
    pub lines: Vec<AuditLine>,
    /// How many lines are among them that cannot be read.
    pub damaged: usize,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<Cursor>,
}

/// An act about to be done.
pub(super) struct Act {
    what: AuditAct,
    session: Option<Handle>,
    user: Option<String>,
    fields: BTreeMap<String, AuditField>,
}

impl Act {
    pub(super) fn on_session(what: AuditAct, session: Handle) -> Self {
        Self { what, session: Some(session), user: None, fields: BTreeMap::new() }
    }

    pub(super) fn on_user(what: AuditAct, user: Option<&str>) -> Self {
        let user = user.map(str::to_owned);
        Self { what, session: None, user, fields: BTreeMap::new() }
    }

    pub(super) fn with_fields(self, fields: BTreeMap<String, AuditField>) -> Self {
        Self { fields, ..self }
    }
}

/// An act that is under way, and its line.
pub(super) struct Begun {
    /// With all its fields.
    line: AuditLine,
    /// The line in the store, if that can list it.
    kept: Option<Line>,
}

fn ended(
    mut line: AuditLine,
    outcome: AuditOutcome,
    complete: impl FnOnce(&mut AuditLine),
) -> AuditLine {
    line.outcome = outcome;
    complete(&mut line);
    shortened(line)
}

/// Writes the lines of what one operator does, or none where nobody operates.
#[derive(Clone)]
pub(super) struct Audit {
    engine: Arc<Engine>,
    operator: Option<Arc<Operator>>,
}

impl Audit {
    pub(super) fn of_nobody(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine), operator: None }
    }

    pub(super) fn of(engine: &Arc<Engine>, operator: Operator) -> Self {
        Self { engine: Arc::clone(engine), operator: Some(operator.into()) }
    }

    pub(super) fn has_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// By whom a session ends that is ended here.
    pub(super) fn ended_by(&self) -> EndedBy {
        EndedBy::Operator(self.operator.as_ref().map(|operator| operator.name.clone()))
    }

    /// Writes down an act that changes nothing.
    pub(super) async fn note(&self, act: Act) -> Result<(), Error> {
        let begun = self.begin(act).await?;
        self.end(begun, AuditOutcome::Done, |_| {}).await;
        Ok(())
    }

    /// Writes the line of an act. `None` where no operator acts.
    ///
    /// # Errors
    /// It could not be written. The act must not be done.
    pub(super) async fn begin(&self, act: Act) -> Result<Option<Begun>, Error> {
        let Some(operator) = &self.operator else { return Ok(None) };
        let context = self.engine.context();
        let line = AuditLine {
            at: context.policy.now(),
            operator: operator.name.clone(),
            from: operator.from.clone(),
            act: act.what,
            session: act.session,
            user: act.user,
            fields: act.fields,
            more_fields: 0,
            ended: None,
            outcome: AuditOutcome::Begun,
        };
        let told = shortened(line.clone());
        let kept = match context.client.lists_by_user() {
            true => Some(audit::begin(context, data_of(&told)).await?),
            false => None,
        };
        tell(&told);
        Ok(Some(Begun { line, kept }))
    }

    /// What completes the line of an act together with the act, if the store can.
    pub(super) fn with_act(
        &self,
        begun: Option<&Begun>,
        complete: impl Fn(&mut AuditLine) + Send + 'static,
    ) -> Option<LineOf> {
        let Begun { line, kept } = begun?;
        let (line, kept) = (line.clone(), kept.clone()?);
        let done = move || {
            let line = ended(line.clone(), AuditOutcome::Done, &complete);
            kept.completed(data_of(&line))
        };
        self.engine.context().client.has_transactions().then(|| Box::new(done) as LineOf)
    }

    /// Completes the line of an act, unless that was done with the act.
    pub(super) async fn end(
        &self,
        begun: Option<Begun>,
        outcome: AuditOutcome,
        complete: impl FnOnce(&mut AuditLine) + Send,
    ) {
        let Some(Begun { line, kept }) = begun else { return };
        let mut line = ended(line, outcome, complete);
        if let Some(kept) = kept {
            match audit::end(self.engine.context(), &kept, &data_of(&line)).await {
                Ok(Completion::WithAct) => line.outcome = AuditOutcome::Done,
                Ok(Completion::AfterAct) => {}
                Err(failure) => {
                    let error = Error::from(failure);
                    tracing::error!(
                        %error,
                        "a line of the audit log may stay as begun, because its outcome could not be stored"
                    );
                }
            }
        }
        tell(&line);
    }
}

/// A page of the log.
pub(super) async fn page(context: &Context, after: Option<&Cursor>) -> Result<AuditPage, Error> {
    let listing = Listing::new(Of::User(AUDIT_USER)).after(after);
    let page = context.client.list(&listing, context.policy.deadline()).await?;
    let is_line = |loaded: &&Loaded| loaded.record.header.key.is_of_audit();
    let records: Vec<_> = page.records.iter().filter(is_line).collect();
    let lines: Vec<_> = records.iter().filter_map(|loaded| line_in(&loaded.record)).collect();
    // Whoever looks for one needs the others.
    let unreadable = page.damaged.iter().filter(|damaged| damaged.key.is_of_audit()).count();
    let damaged = unreadable + records.len() - lines.len();
    Ok(AuditPage { lines, damaged, next: page.next })
}

/// A field as a record has it. Its name is a text there: not every store takes each name for that of a field.
#[derive(Serialize, Deserialize)]
struct NamedField {
    name: String,
    #[serde(flatten)]
    field: AuditField,
}

/// What stands in a record of the audit log, if it is as it was written.
fn line_in(record: &Record) -> Option<AuditLine> {
    let read = || {
        let mut data = record.data.clone();
        let fields = data.remove("fields").map(serde_json::from_value::<Vec<NamedField>>);
        let fields = fields.transpose()?.into_iter().flatten();
        let fields = fields.map(|NamedField { name, field }| (name, field)).collect();
        let line: AuditLine = serde_json::from_value(data.into())?;
        Ok::<_, serde_json::Error>(AuditLine { fields, ..line })
    };
    read().inspect_err(|_| tracing::error!("a line of the audit log is not as it was written")).ok()
}

fn data_of(line: &AuditLine) -> Data {
    let mut data = told(line);
    if data.remove("fields").is_some() {
        let fields = line.fields.clone().into_iter();
        let fields = fields.map(|(name, field)| json!(NamedField { name, field }));
        data.insert("fields".to_owned(), fields.collect());
    }
    data
}

/// A line as JSON for whoever is told of it.
fn told(line: &AuditLine) -> Data {
    match serde_json::to_value(line) {
        Ok(Value::Object(data)) => data,
        _ => Data::new(),
    }
}

/// The line as it is kept: of many fields it names the first ones, and counts the others.
fn shortened(mut line: AuditLine) -> AuditLine {
    line.more_fields = line.fields.len().saturating_sub(FIELDS_MAX);
    line.fields = line.fields.into_iter().take(FIELDS_MAX).collect();
    line
}

/// Tells the log the same.
fn tell(line: &AuditLine) {
    let text =
        |text: &Option<String>| text.as_deref().unwrap_or_default().escape_debug().to_string();
    let fields = told(line).get("fields").map(Value::to_string);
    tracing::info!(
        operator = %line.operator.escape_debug(),
        from = text(&line.from),
        act = line.act.name(),
        session = line.session.map(|session| session.to_string()),
        user = text(&line.user),
        fields,
        more_fields = line.more_fields,
        ended = line.ended,
        outcome = line.outcome.name(),
        "an operator's act"
    );
}

/// A handle as text.
mod handle {
    use std::borrow::Cow;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error};

    use crate::id::Handle;

    #[expect(clippy::ref_option, reason = "serde's `with` passes references")]
    pub(super) fn serialize<S: Serializer>(
        handle: &Option<Handle>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match handle {
            Some(handle) => serializer.collect_str(handle),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Handle>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
    }
}

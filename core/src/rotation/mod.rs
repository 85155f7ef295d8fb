//! Rotates a client's own secret or certificate: decides which step comes next. Nothing is sent or written here.
//!
//! One source Secret has up to three values: *current*, which credentials use, *next*, which will replace it, and *previous*, which was
//! replaced. An annotation ([`Record`]) stores the state of the rotation. Values and annotation change together, in one write at the
//! resourceVersion that was read. If two processes act at once, one write is therefore refused.
//!
//! ```text
//!            due                    value is stored           5 trials in a row
//!  Steady ────────▶ Adding{n} ─────────────────▶ Added ─────────────────────▶ Switched
//!    ▲                  │ lost: search for name n    │ 1 h without proof            │ overlap ends, all follow
//!    │                  ▼                            ▼                             ▼
//!    └──────────── Retiring(orphan)          Retiring(next)              Retiring(previous)
//! ```
//!
//! | State | What happens | After a crash |
//! |---|---|---|
//! | `Steady` | waits until `every` has passed, the value will soon expire or a user requests a rotation. Reads the application once a day and removes orphans: ours by name, in no Secret, older than an hour | the same |
//! | `Adding{n}` | written *before* the call, which is sent within 10 s or announced again. Secret: `addPassword` with the display name `apicred/<cluster>/<uid>/<n>`. Certificate: the key pair is stored in the same write, then `addKey` | no blind repeat. Secret: after 5 minutes apicred searches for name n at the issuer. It removes that credential, because its value is lost. Certificate: announced again if it is not listed |
//! | `Added` | *proving*: token requests with only the next value, 30 s apart, until 5 in a row over 2 minutes succeed. Trials before this state do not count. If an hour has passed and the last trial got no token, the value is given up and removed from the Secret | counts from 0, and tries it at least once |
//! | `Switched` | *overlap*: next has become current, and current previous. Waits for `overlap`, and until no credential has a valid token by the previous value; the latter at most until the next rotation is requested or must begin | the same |
//! | `Retiring{key}` | written *before* the call. Removes one credential at the issuer, then its value | repeats; a credential that does not exist counts as removed |
//!
//! If a rotation is requested or due, and the issuer refuses or does not list the current value, or the removal fails three times in a row,
//! `Switched` (after the overlap) and `Retiring` do not wait any more: the next rotation begins, and the previous value stays until the new
//! one has taken over. Only then is it removed (`Retiring(orphan)`), and the overlap of the value that was replaced begins.
//!
//! These rules always hold, even after a loss, a repetition, a late reading or an edit by others:
//!
//! 1. A value that works is replaced only by a proven one, and stays as *previous* for the overlap.
//! 2. Nothing is removed at the issuer unless the *current* value got a token within the last 24 hours.
//! 3. Nothing is removed that is, or may be, a value of the Secret. Nothing is removed that apicred did not create, unless
//!    `adopt` names it and a rotation replaced it in this Secret, or an earlier client resource created it for this Secret. Nothing is
//!    removed that another Secret uses (a copy), or that is in a Secret or under keys that the client resource named before.
//! 4. The issuer has at most two credentials of apicred, and one orphan.
//! 5. A public key (RFC 7592) has neither a name nor a date at the issuer, so only the annotation shows which ones apicred registered. Its
//!    thumbprint is stored before the first call that registers it, and until a call has removed it. A key that is given up is removed
//!    five minutes later at the earliest, when every call that was sent before has taken effect. So without edits no key is left over,
//!    at any crash and whichever of two processes sends. Each edit of the Secret, and each jump of a clock, may leave one. It is not
//!    removed later, because a key whose `kid` is its thumbprint may belong to anyone.
//! 6. If the client names another application than the annotation, or another kind of credential, nothing is written, removed or sent for
//!    either, unless apicred created nothing for the other one.
//! 7. A missing annotation is created again from what the issuer lists (display names, hints, thumbprints). If the application may not
//!    be read, a next certificate is recognized by its subject, and tried first. An unreadable annotation stops the rotation; the values stay.
//!
//! How the shell drives it:
//!
//! ```text
//! loop {
//!     seen = the Secret, the client resource and its credentials
//!     Next { step, notices, .. } = next(&seen, &memory, &settings, now)
//!     if step.changes_issuer() { read the Secret from the API server, decide again, continue only if the step is the same }
//!     memory.before(&step, now)
//!     outcome = execute(step)                     // the one place with I/O
//!     memory.after(&step, &outcome, now)
//! }
//! ```
//!
//! | Module | Content |
//! |---|---|
//! | [`settings`], `spec` | what a user sets, and time limits |
//! | `state`, `failure` | the annotation |
//! | `observed` | what was observed, and which credential of the issuer is which value |
//! | `memory`, `trials` | what one process knows in addition to the Secret |
//! | `cycle` | when a rotation is due, and when it is overdue |
//! | `step` | the possible steps, and what is reported |
//! | `next`, `steady`, `begin`, `adding`, `finish` | the decision |
//! | `owners` | who created a credential of the issuer |
//! | `shared` | values that are also stored in another Secret, or under other keys |
//! | `left` | what a rotation replaced and does not remove |
//! | `elsewhere` | the client names another application, or another kind of credential, than the annotation |
//! | `upload` | the decision for a certificate that another tool created and apicred only announces |
//! | `manager` | which `ApiCredential` may call Microsoft Graph for a client |
//! | [`graph`] | the requests to Microsoft Graph, and its answers |
//! | [`registration`] | the same for a client that manages its own registration (RFC 7592) |
//! | `users` | which credentials have a token by the current value |
//! | [`values`] | what a write does with the data of the Secret |

mod adding;
mod begin;
mod cycle;
mod elsewhere;
mod failure;
mod finish;
pub mod graph;
mod left;
mod manager;
mod memory;
mod next;
mod observed;
mod outcome;
mod owners;
mod proof;
pub mod registration;
pub mod settings;
mod shared;
mod shown;
mod spec;
mod state;
mod steady;
mod step;
#[cfg(test)]
mod tests;
mod trials;
mod upload;
mod users;
pub mod values;

pub use crate::oauth::AnswerIds;
pub use cycle::Cycle;
pub use elsewhere::Changed;
pub use failure::{Failure, FailureCause};
pub use left::{Left, forgotten, until_end};
pub use manager::may_change;
pub use memory::Memory;
pub use next::next;
pub use observed::{Application, Key, KeyMark, MOST_CLUSTER, Mark, Names, Observed, Slot, Slots};
pub use outcome::{Class, Fault, Outcome, UnstoredValue};
pub use proof::NoProof;
pub use settings::{Kind, Pace, RotationSettings, Trials};
pub use shared::{Also, InOther};
pub use shown::Shown;
pub use spec::{Registry, Rotating, rotating};
pub use state::{
    ClientAt, Phase, Record, RemovalSource, RotatedUntil, Stored, StoredRecord, ValueRecord,
    value_digest,
};
pub use step::{Change, Next, Notice, Step, Tried, Values};
pub use upload::{Before, Uploading, upload};
pub use users::{Lagging, User, lagging, used_at, used_before};

//! Rotates a client's own secret or certificate: which step comes next. Nothing is sent or written here.
//!
//! One source Secret has up to three values: *current*, which credentials use, *next*, which shall replace it, and *previous*,
//! which was replaced. An annotation ([`Record`]) says where the rotation stands. Values and annotation change together, in
//! one write at the resourceVersion that was read; so of two processes that act at once, one is refused.
//!
//! ```text
//!            due                    value is stored           5 trials in a row
//!  Steady ────────▶ Adding{n} ─────────────────▶ Added ─────────────────────▶ Switched
//!    ▲                  │ answer lost: look for n    │ 1 h without proof            │ overlap is over, all follow
//!    │                  ▼                            ▼                             ▼
//!    └──────────── Retiring(orphan)          Retiring(next)              Retiring(previous)
//! ```
//!
//! | State | What happens | After a crash |
//! |---|---|---|
//! | `Steady` | waits until `every` has passed, the end is near or somebody asks. Reads the application once a day and removes orphans: ours by name, in no Secret, older than an hour | the same |
//! | `Adding{n}` | written *before* the call, which is sent within 10 s or announced again. Secret: `addPassword` with the display name `apicred/<cluster>/<uid>/<n>`. Certificate: the key pair is stored in the same write, then `addKey` | no blind repeat. Secret: after 5 minutes the issuer is asked for name n; its value is lost, so it is removed. Certificate: announced again if it is not listed |
//! | `Added` | *proving*: token requests with the next value alone, 30 s apart, until 5 in a row over 2 minutes succeed. Those before this state do not count. If an hour has passed and the last trial got no token, it is given up and leaves the Secret | counts from 0, and tries it at least once |
//! | `Switched` | *overlap*: next has become current, current previous. Waits for `overlap`, and until no credential has a valid token by the one before; for the latter no longer than until the next rotation is requested or must begin | the same |
//! | `Retiring{key}` | written *before* the call. Removes one credential at the issuer, then its value | repeats; one that is not there is removed |
//!
//! What always holds, whatever is lost, repeated, read too late or edited by others:
//!
//! 1. A value that works is replaced only by one that was proven, and stays as *previous* for the overlap.
//! 2. Nothing is removed at the issuer unless a token came by the *current* value within the last 24 hours.
//! 3. Nothing is removed that is, or may be, a value of the Secret; nothing that apicred did not make, unless
//!    `adopt` names it and a rotation replaced it in this Secret, or an earlier client resource made it for this Secret.
//! 4. At most two of ours are at the issuer, and one orphan.
//! 5. A public key (RFC 7592) has neither a name nor a date at the issuer, so nothing but the annotation says which ones are ours. Its
//!    thumbprint is noted before the first call that registers it, and until a call has removed it. One that is given up is removed
//!    five minutes after that at the earliest: whatever was sent before has taken effect by then. So without edits none is left over,
//!    whatever crashes and whichever of two processes sends. Each edit of the Secret, and each jump of a clock, may leave one. It is not
//!    removed later: a key whose `kid` is its thumbprint may be anybody's.
//! 6. If the client names another application than the annotation, nothing is written, removed or sent for either, unless apicred made
//!    nothing for the other one.
//! 7. An annotation that is missing is created again from what the issuer lists (display names, hints, thumbprints); where that may not
//!    be read, a next certificate is known by its subject, and tried first. One that cannot be read stops the rotation; the values stay.
//!
//! How the shell drives it:
//!
//! ```text
//! loop {
//!     seen = the Secret, the client resource and its credentials
//!     Next { step, notices, .. } = next(&seen, &memory, &settings, now)
//!     if step.changes_issuer() { read the Secret from the API server, ask again, go on only if the step is the same }
//!     memory.before(&step, now)
//!     outcome = execute(step)                     // the one place with I/O
//!     memory.after(&step, &outcome, now)
//! }
//! ```
//!
//! | Module | What it has |
//! |---|---|
//! | [`settings`], `spec` | what a user sets, and how long things take |
//! | `state`, `failure` | the annotation |
//! | `observed` | what is seen, and which credential of the issuer is which value |
//! | `memory`, `trials` | what one process knows beyond the Secret |
//! | `cycle` | when a rotation is due, and when it is late |
//! | `step` | what can be done, and what is reported |
//! | `next`, `steady`, `adding`, `finish` | the decision |
//! | `owners` | whose a credential of the issuer is |
//! | `left` | what a rotation replaced and does not remove |
//! | `elsewhere` | the client names another application than the annotation |
//! | `upload` | the decision for a certificate that another tool made, and that apicred only announces |
//! | `manager` | which `ApiCredential` may call Microsoft Graph for a client |
//! | [`graph`] | the requests to Microsoft Graph, and its answers |
//! | [`registration`] | the same for a client that manages its own registration (RFC 7592) |
//! | `users` | which credentials have a token by the current value |
//! | [`values`] | what a write does with the data of the Secret |

mod adding;
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
pub mod registration;
pub mod settings;
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

pub use cycle::Cycle;
pub use failure::{Failure, Why};
pub use manager::may_change;
pub use memory::Memory;
pub use next::next;
pub use observed::{Application, Key, KeyMark, MOST_CLUSTER, Mark, Names, Observed, Slot, Slots};
pub use outcome::{Answer, Class, Fault, InHand, Outcome};
pub use settings::{Kind, Pace, RotationSettings, Trials};
pub use spec::{Registry, Rotating, rotating};
pub use state::{ClientAt, Known, Noted, Phase, Place, Record, RotatedUntil, value_digest};
pub use step::{Change, Next, Notice, Shown, Step, Tried, Values};
pub use upload::{Uploading, upload};
pub use users::{Lagging, User, lagging, used_at};

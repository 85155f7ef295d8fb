//! The states one by one, and together in random histories.

mod answered;
mod busy;
mod elsewhere;
mod faults;
mod forgotten;
mod graph;
mod histories;
mod in_hand;
mod left;
mod manager;
mod obsolete;
mod overlap;
mod process;
mod quiet;
mod record;
mod registration;
mod registration_answers;
mod room;
mod shared;
mod stuck;
mod trials;
mod unknown;
mod upload;
mod upload_bound;
mod upload_histories;
mod world;

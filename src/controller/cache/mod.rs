//! The contents of the watches, and an index from an object to the credentials that need it. There are no decisions here.

pub(super) mod ca_bundles;
pub(super) mod ca_watch;
pub(super) mod cached_client;
pub(super) mod calls_under_way;
pub(super) mod changes;
pub(super) mod client_watch;
pub(super) mod clients;
pub(super) mod credentials;
pub(super) mod doubts;
pub(super) mod gone_issuers;
pub(super) mod high_water_mark;
pub(super) mod index;
pub(super) mod issuers;
pub(super) mod own_write;
pub(super) mod packed;
pub(super) mod readable;
pub(super) mod rollback;
pub(super) mod scope;
pub(super) mod secret_map;
pub(super) mod secrets;
pub(super) mod service_accounts;
pub(super) mod shown;
mod stored_values;
pub(super) mod streams;
pub(super) mod trim;
pub(super) mod unsynced;
pub(super) mod verify;

//! The nouns of the house: objects, vault addresses, digests, places, store paths. Pure values that parse once and
//! cannot be wrong afterwards. Knows no format, no Azure SDK, no input or output.

mod choice;
mod digest;
pub mod duration;
mod glob;
mod hold_tag;
pub mod moment;
mod object;
mod path;
mod pattern;
mod permissions;
mod place;
mod protection;
mod regions;
mod vault;

pub use choice::{SubscriptionId, Tag, VaultChoice};
pub use digest::{Digest, hex, unhex};
pub use glob::Glob;
pub use hold_tag::HoldTag;
pub use object::{Attributes, Kind, Name, Object, object_in, object_of_id, tags_of, unix_time};
pub use path::StorePath;
pub use pattern::Pattern;
pub use permissions::{Grant, Permissions};
pub use place::{Atlas, Geography, Place, SameWorld, geography_of, region_name};
pub use protection::Mode;
pub use vault::{SoftDelete, VaultFacts, VaultUri};

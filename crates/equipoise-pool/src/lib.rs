//! Embedding stores, heads, labels, image sources and exports of Equipoise.
//!
//! What each file looks like is told in `docs/formats.md`.

mod array;
mod augment;
mod candidates;
mod columns;
mod decode;
mod digest;
mod embeddings;
mod error;
mod head;
mod ids;
mod label_studio;
mod labels;
mod lists;
mod npy;
mod output;
mod picks;
mod pool;
mod preprocess;
mod quotas;
mod resample;
mod source;
mod store;
mod table;
mod tensors;
mod thumbnail;

pub use augment::Augmentation;
pub use candidates::{
    CANDIDATES_VERSION, Candidates, ClassDepth, Deepening, Gathered, MOST_SHARDS, ShardDepths,
    SharedQuestion,
};
pub use columns::{read_column, read_costs};
pub use decode::{BadImage, decode};
pub use embeddings::EmbeddingsWriter;
pub use error::{Error, Problem, Result};
pub use head::HeadFile;
pub use ids::{Ids, RowNames};
pub use labels::{LabelLine, Labels, read_label_lines, read_labels};
pub use lists::read_rows;
pub use output::{OutputFile, check_output};
pub use picks::{PICKS_VERSION, PickFormat, write_picks};
pub use pool::EmbeddingPool;
pub use preprocess::{Exif, Image, Preprocess};
pub use quotas::{QuotaFile, read_quotas};
pub use resample::Interpolation;
pub use source::{Encoded, Entry, ImageLookup, Part, Source, Stream};
pub use store::{
    DEFAULT_SHARD_ROWS, Dtype, Manifest, STORE_VERSION, Shard, SourceInfo, StoreInfo, StoreWriter,
    Stored, join_stores,
};
pub use thumbnail::thumbnail;

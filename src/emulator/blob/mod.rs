//! Blob Storage. To come.

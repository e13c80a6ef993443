//! Key Vault's data plane. To come.

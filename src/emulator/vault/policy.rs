//! Certificate policies: what a certificate is to be made from, with the service's defaults (REC). Knows no certificate.

use super::crypto::Spec;
use super::errors::Fault;
use super::keys::parse_type;
use serde::{Deserialize, Serialize};

/// A policy as it is stored and shown, in the order of the recordings.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) key_props: KeyProperties,
    pub(super) secret_props: SecretProperties,
    pub(super) x509_props: X509Properties,
    lifetime_actions: Vec<LifetimeAction>,
    pub(super) issuer: IssuerReference,
    pub(super) attributes: PolicyAttributes,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct KeyProperties {
    pub(super) exportable: bool,
    pub(super) kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_size: Option<u32>,
    pub(super) reuse_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crv: Option<String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct SecretProperties {
    #[serde(rename = "contentType")]
    pub(super) content_type: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct X509Properties {
    pub(super) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sans: Option<Sans>,
    pub(super) ekus: Vec<String>,
    pub(super) key_usage: Vec<String>,
    pub(super) validity_months: u32,
    pub(super) basic_constraints: BasicConstraints,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Sans {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) emails: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dns_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upns: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uris: Option<Vec<String>>,
    #[serde(rename = "ipAddresses", skip_serializing_if = "Option::is_none")]
    pub(super) ip_addresses: Option<Vec<String>>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct BasicConstraints {
    pub(super) ca: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct LifetimeAction {
    trigger: Trigger,
    action: Action,
}

#[derive(Clone, Serialize, Deserialize)]
struct Trigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_percentage: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_before_expiry: Option<u32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Action {
    action_type: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct IssuerReference {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_transparency: Option<bool>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct PolicyAttributes {
    enabled: bool,
    pub(super) created: i64,
    pub(super) updated: i64,
}

/// What a request says about a policy; what it leaves out stays as it is.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyPatch {
    key_props: Option<KeyPropertiesPatch>,
    secret_props: Option<SecretPropertiesPatch>,
    x509_props: Option<X509Patch>,
    lifetime_actions: Option<Vec<LifetimeAction>>,
    issuer: Option<IssuerPatch>,
    attributes: Option<AttributesPatch>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyPropertiesPatch {
    exportable: Option<bool>,
    kty: Option<String>,
    key_size: Option<u32>,
    reuse_key: Option<bool>,
    crv: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretPropertiesPatch {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct X509Patch {
    subject: Option<String>,
    sans: Option<Sans>,
    ekus: Option<Vec<String>>,
    key_usage: Option<Vec<String>>,
    validity_months: Option<u32>,
    basic_constraints: Option<BasicConstraints>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IssuerPatch {
    name: Option<String>,
    cty: Option<String>,
    cert_transparency: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AttributesPatch {
    enabled: Option<bool>,
}

impl PolicyPatch {
    /// The same without what it says of the certificate itself.
    pub(super) fn without_x509(self) -> Self {
        PolicyPatch { x509_props: None, ..self }
    }
}

impl Policy {
    /// What the service assumes where a request says nothing (REC).
    pub(super) fn defaults(now: i64) -> Self {
        Policy {
            key_props: KeyProperties {
                exportable: true,
                kty: "RSA".into(),
                key_size: Some(2048),
                reuse_key: false,
                crv: None,
            },
            secret_props: SecretProperties { content_type: "application/x-pkcs12".into() },
            x509_props: X509Properties {
                subject: String::new(),
                sans: None,
                ekus: vec!["1.3.6.1.5.5.7.3.1".into(), "1.3.6.1.5.5.7.3.2".into()],
                key_usage: vec!["digitalSignature".into(), "keyEncipherment".into()],
                validity_months: 12,
                basic_constraints: BasicConstraints { ca: false },
            },
            lifetime_actions: vec![LifetimeAction {
                trigger: Trigger { lifetime_percentage: Some(80), days_before_expiry: None },
                action: Action { action_type: "AutoRenew".into() },
            }],
            issuer: IssuerReference::default(),
            attributes: PolicyAttributes { enabled: true, created: now, updated: now },
        }
    }

    /// Applies a request's part.
    ///
    /// # Errors
    /// 400 for a content type, key or validity that cannot be.
    pub(super) fn apply(&mut self, patch: PolicyPatch, now: i64) -> Result<(), Fault> {
        if let Some(key) = patch.key_props {
            self.apply_key(key)?;
        }
        if let Some(content_type) = patch.secret_props.and_then(|props| props.content_type) {
            if !["application/x-pkcs12", "application/x-pem-file"].contains(&content_type.as_str()) {
                return Err(Fault::bad_parameter(format!("Content type \"{content_type}\" is not supported")));
            }
            self.secret_props.content_type = content_type;
        }
        if let Some(x509) = patch.x509_props {
            self.apply_x509(x509)?;
        }
        self.lifetime_actions = patch.lifetime_actions.unwrap_or_else(|| self.lifetime_actions.clone());
        if let Some(issuer) = patch.issuer {
            self.issuer.name = issuer.name.unwrap_or_else(|| self.issuer.name.clone());
            self.issuer.cty = issuer.cty.or(self.issuer.cty.take());
            self.issuer.cert_transparency = issuer.cert_transparency.or(self.issuer.cert_transparency);
        }
        if let Some(enabled) = patch.attributes.and_then(|attributes| attributes.enabled) {
            self.attributes.enabled = enabled;
        }
        self.attributes.updated = now;
        Ok(())
    }

    fn apply_key(&mut self, patch: KeyPropertiesPatch) -> Result<(), Fault> {
        let KeyProperties { exportable, kty, key_size, reuse_key, crv } = &mut self.key_props;
        if let Some(wanted) = patch.kty {
            if wanted != *kty {
                (*key_size, *crv) = (None, None);
            }
            *kty = wanted;
        }
        *exportable = patch.exportable.unwrap_or(*exportable);
        *reuse_key = patch.reuse_key.unwrap_or(*reuse_key);
        *key_size = patch.key_size.or(*key_size);
        *crv = patch.crv.or(crv.take());
        let spec = self.key_spec()?.0;
        self.set_spec(spec);
        Ok(())
    }

    /// Makes the policy say what a key is.
    pub(super) fn set_spec(&mut self, spec: Spec) {
        let (size, crv) = match spec {
            Spec::Rsa(bits) => (bits, None),
            Spec::Ec(curve) => {
                let size = match curve.name() {
                    "P-384" => 384,
                    "P-521" => 521,
                    _ => 256,
                };
                (size, Some(curve.name().to_owned()))
            }
        };
        (self.key_props.key_size, self.key_props.crv) = (Some(size), crv);
    }

    /// The key to make, and whether in an HSM.
    pub(super) fn key_spec(&self) -> Result<(Spec, bool), Fault> {
        let KeyProperties { kty, key_size, crv, .. } = &self.key_props;
        let by_size = match (kty.starts_with("EC"), key_size) {
            (true, Some(384)) => Some("P-384"),
            (true, Some(521)) => Some("P-521"),
            _ => None,
        };
        parse_type(kty, *key_size, crv.as_deref().or(by_size))
    }

    fn apply_x509(&mut self, patch: X509Patch) -> Result<(), Fault> {
        let X509Properties { subject, sans, ekus, key_usage, validity_months, basic_constraints } =
            &mut self.x509_props;
        *subject = patch.subject.unwrap_or_else(|| subject.clone());
        *sans = patch.sans.or(sans.take());
        *ekus = patch.ekus.unwrap_or_else(|| ekus.clone());
        if let Some(mut usage) = patch.key_usage {
            // They come back sorted (REC).
            usage.sort_unstable();
            *key_usage = usage;
        }
        *validity_months = patch.validity_months.unwrap_or(*validity_months);
        if !(1..=1200).contains(validity_months) {
            return Err(Fault::bad_parameter("Property validity_months must be between 1 and 1200"));
        }
        *basic_constraints = patch.basic_constraints.unwrap_or_else(|| basic_constraints.clone());
        Ok(())
    }

    /// The operations of the key behind the certificate (REC for RSA).
    pub(super) fn key_ops(&self) -> Vec<String> {
        let mut ops = Vec::new();
        for (usage, allows) in [
            ("digitalSignature", ["sign", "verify"]),
            ("keyEncipherment", ["wrapKey", "unwrapKey"]),
            ("dataEncipherment", ["encrypt", "decrypt"]),
        ] {
            let possible = usage == "digitalSignature" || self.key_props.kty.starts_with("RSA");
            if possible && self.x509_props.key_usage.iter().any(|known| known == usage) {
                ops.extend(allows.map(str::to_owned));
            }
        }
        ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(json: &str) -> Result<Policy, Fault> {
        let mut policy = Policy::defaults(5);
        policy.apply(serde_json::from_str(json).unwrap(), 6)?;
        Ok(policy)
    }

    #[test]
    fn defaults_are_those_of_the_recordings_and_usages_come_back_sorted() {
        let policy = patched(r#"{"issuer":{"name":"Self"},"x509_props":{"subject":"CN=a","sans":{},"key_usage":["nonRepudiation","digitalSignature"]}}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&policy).unwrap(),
            r#"{"key_props":{"exportable":true,"kty":"RSA","key_size":2048,"reuse_key":false},"secret_props":{"contentType":"application/x-pkcs12"},"x509_props":{"subject":"CN=a","sans":{},"ekus":["1.3.6.1.5.5.7.3.1","1.3.6.1.5.5.7.3.2"],"key_usage":["digitalSignature","nonRepudiation"],"validity_months":12,"basic_constraints":{"ca":false}},"lifetime_actions":[{"trigger":{"lifetime_percentage":80},"action":{"action_type":"AutoRenew"}}],"issuer":{"name":"Self"},"attributes":{"enabled":true,"created":5,"updated":6}}"#
        );
        assert_eq!(policy.key_ops(), ["sign", "verify"]);
    }

    #[test]
    fn a_change_of_key_type_forgets_the_old_size() {
        let policy = patched(r#"{"key_props":{"kty":"EC","crv":"P-384"}}"#).unwrap();
        assert_eq!(policy.key_props.key_size, Some(384));
        assert!(patched(r#"{"key_props":{"kty":"RSA","key_size":1024}}"#).is_err());
        assert!(patched(r#"{"secret_props":{"contentType":"text/plain"}}"#).is_err());
    }
}

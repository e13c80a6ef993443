//! Sealed settings of a vault, which are looked at like captures.

use super::*;

/// The settings of the vault in a file of their own, and a snapshot that names it.
async fn with_settings(house: &House) -> String {
    let (sealed, content, at) = ("sealed settings", crate::model::Digest::of(b"settings"), house.ambient.now());
    let path = paths::settings(&host(), at, &content).unwrap();
    let created = house.store.create(&path, Bytes::from(sealed)).await.unwrap();
    let settings = CaptureRef {
        path: path.clone(),
        version: created.version,
        sha256: crate::model::Digest::of(sealed.as_bytes()),
        md5: crate::model::hex(&crate::archive::md5(sealed.as_bytes())),
        size: sealed.len() as u64,
        captured_at: at,
        mode: Mode::Locked,
        protected_until: None,
        kid: None,
        reused: false,
    };
    house
        .commit(|manifest| {
            manifest.header.settings = Some(settings);
            manifest.header.settings_fingerprint = Some(content);
        })
        .await;
    path.to_string()
}

#[tokio::test]
async fn settings_are_looked_at_like_captures() {
    let house = house().await;
    let before = house.verify().await.checked.captures;
    let path = with_settings(&house).await;
    let report = house.verify().await;
    assert_eq!((report.findings.as_slice(), report.checked.captures), (&[][..], before + 1));
    house.store.corrupt(&path, "sealed settingz");
    assert_eq!(codes(&house).await, [Code::CaptureMismatch], "same length, another MD5");
    house.store.lose(&path);
    assert_eq!(codes(&house).await, [Code::CaptureMissing]);
    // They are needed as long as anything.
    let other = self::house().await;
    let path = with_settings(&other).await;
    other.clock.advance(Duration::from_secs((365 - 90) * 86_400));
    let short = other.verify().await.findings;
    assert!(short.iter().any(|finding| finding.code == Code::ProtectionShort && finding.path == path), "{short:?}");
}

#[tokio::test]
async fn settings_that_nothing_names_are_an_orphan() {
    let house = house().await;
    let path = paths::settings(&host(), house.ambient.now(), &crate::model::Digest::of(b"")).unwrap();
    house.store.create(&path, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(codes(&house).await, [Code::Orphan]);
}

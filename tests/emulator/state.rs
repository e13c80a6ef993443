//! What outlives a run, and the emulator as a command of its own.

use akv_archiver::emulator;

use super::*;

#[tokio::test]
async fn a_state_directory_brings_back_identity_clock_and_objects() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options { state: Some(directory.path().join("state")), ca_directory: None };
    let azure = Azure::with(SEED, options());
    let token = azure.token(VAULT).await;
    azure.put_secret(&token).send().await.unwrap();
    azure.emulator.advance(Duration::from_secs(86_400));
    let (ready, now) = (azure.emulator.ready().clone(), azure.emulator.now());
    let authority = std::fs::read(&ready.ca_file).unwrap();
    azure.emulator.stop().unwrap();

    // The seed of a second start fills nothing: what is there, is there.
    let azure = Azure::with("", options());
    let again = azure.emulator.ready();
    assert_eq!((&again.tenant_id, &again.client_secret), (&ready.tenant_id, &ready.client_secret));
    assert_eq!(again.principals["reader"].client_id, ready.principals["reader"].client_id);
    assert_eq!(std::fs::read(&again.ca_file).unwrap(), authority);
    assert!(azure.emulator.now() >= now);
    assert_eq!(azure.get(SECRET, &azure.token(VAULT).await).await.0, 200);
}

#[tokio::test]
async fn an_emulator_killed_later_has_saved_what_changed() {
    let directory = tempfile::tempdir().unwrap();
    let options = |copy: &str| Options { state: Some(directory.path().join(copy)), ca_directory: None };
    let azure = Azure::with(SEED, options("state"));
    let token = azure.token(VAULT).await;
    let vaults = || std::fs::read(directory.path().join("state/vaults.state")).unwrap();
    let before = vaults();
    azure.put_secret(&token).send().await.unwrap();
    until(|| vaults() != before).await;
    // What is on disk now is what a kill would leave.
    std::fs::create_dir(directory.path().join("copy")).unwrap();
    for file in ["emulator.json", "vaults.state", "blobs.state"] {
        let (from, to) = (directory.path().join("state").join(file), directory.path().join("copy").join(file));
        std::fs::copy(from, to).unwrap();
    }
    drop(azure);
    let azure = Azure::with("", options("copy"));
    assert_eq!(azure.get(SECRET, &azure.token(VAULT).await).await.0, 200);
}

#[tokio::test]
async fn the_command_announces_itself_in_the_ready_file_and_stops_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let (seed, ready_file) = (directory.path().join("seed.toml"), directory.path().join("ready.json"));
    std::fs::write(&seed, SEED).unwrap();
    std::fs::write(&ready_file, "of an older run").unwrap();
    let (announce, announced) = tokio::sync::oneshot::channel();
    let running = tokio::spawn({
        let ready_file = ready_file.clone();
        async move {
            emulator::run(&seed, None, Some(&ready_file), |ready| announce.send(ready.control.clone()).unwrap()).await
        }
    });
    let control = announced.await.unwrap();
    let ready: Value = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
    let mut fields: Vec<&String> = ready.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["ca_file", "client_id", "client_secret", "control", "principals", "proxy", "tenant_id"]);
    assert_eq!(ready["control"], control);
    let client = Client::builder().no_proxy().build().unwrap();
    client.post(format!("{control}/shutdown")).send().await.unwrap();
    soon(running).await.unwrap().unwrap();

    let missing = directory.path().join("missing.toml");
    let error = emulator::run(&missing, None, None, |_| {}).await.unwrap_err();
    assert!(error.message().contains("missing.toml"), "{error}");
}

//! The control interface over plain HTTP.

use super::*;

struct Control {
    client: Client,
    url: String,
}

impl Control {
    fn of(azure: &Azure) -> Self {
        Control { client: Client::builder().no_proxy().build().unwrap(), url: azure.emulator.ready().control.clone() }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        answer(self.client.post(format!("{}{path}", self.url)).body(body.to_owned())).await
    }
}

#[tokio::test]
async fn the_clock_moves_forward_for_everybody() {
    let azure = Azure::start();
    let control = Control::of(&azure);
    let before = azure.emulator.now();
    let (status, body) = control.post("/clock", r#"{"advance_seconds": 7776000}"#).await;
    assert_eq!(status, 200);
    let now: chrono::DateTime<chrono::Utc> = body["now"].as_str().unwrap().parse().unwrap();
    assert_eq!((now - before).num_days(), 90);
    assert_eq!((azure.emulator.now() - before).num_days(), 90);
    assert_eq!(control.get("/health").await.1["status"], "ok");
}

#[tokio::test]
async fn the_log_tells_who_asked_what_and_what_came_of_it() {
    let azure = Azure::start();
    let control = Control::of(&azure);
    let token = azure.token(VAULT).await;
    azure.put_secret(&token).header("user-agent", "tester").send().await.unwrap();
    azure.client.get(SECRET).send().await.unwrap();
    let (_, all) = control.get("/requests").await;
    let entries = all["requests"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| entry["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    let put = &entries[1];
    assert_eq!((&put["host"], &put["method"]), (&json!("prod.vault.azure.net"), &json!("PUT")));
    assert_eq!((&put["path"], &put["query"]), (&json!("/secrets/s"), &json!("api-version=7.4")));
    assert_eq!((&put["length"], &put["status"], &put["fault"]), (&json!(13), &json!(200), &Value::Null));
    assert_eq!((&put["caller"], &put["user_agent"]), (&json!("default"), &json!("tester")));
    assert_eq!((&entries[2]["caller"], &entries[2]["status"]), (&Value::Null, &json!(401)));
    let (_, later) = control.get("/requests?since=2").await;
    assert_eq!(later["requests"], json!([entries[2]]));

    let (_, sums) = control.get("/traffic").await;
    let vault = sums["traffic"]["prod.vault.azure.net"].as_array().unwrap();
    let told: Vec<Value> = vault.iter().map(|sum| json!([sum["class"], sum["status"], sum["requests"]])).collect();
    assert_eq!(told, [json!(["secret-create", 200, 1]), json!(["vault", 401, 1])]);
    assert_eq!(vault[0]["received"], json!(13));
}

#[tokio::test]
async fn faults_and_limits_are_set_read_and_dropped() {
    let azure = Azure::start();
    let control = Control::of(&azure);
    let token = azure.token(VAULT).await;
    let rule = r#"{"host": "prod.*", "after": 1, "action": {"status": {"code": 500}}}"#;
    assert_eq!(control.post("/faults", rule).await, (200, json!({"id": 1})));
    assert_eq!(azure.put_secret(&token).send().await.unwrap().status(), 200);
    assert_eq!(azure.put_secret(&token).send().await.unwrap().status(), 500);
    let (_, faults) = control.get("/faults").await;
    let fault = &faults["faults"][0];
    assert_eq!((&fault["seen"], &fault["hits"], &fault["rule"]["after"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(answer(control.client.delete(format!("{}/faults", control.url))).await.1, json!({"faults": []}));
    assert_eq!(control.get("/faults").await.1, json!({"faults": []}));

    let (_, limits) = control.post("/limits", r#"{"latency_ms": 1, "limbo": "real"}"#).await;
    assert_eq!(limits, json!({"enforce": false, "percent": 100, "latency_ms": 1, "limbo": "real"}));
    let (_, limits) = control.post("/limits", r#"{"enforce": true, "percent": 5}"#).await;
    assert_eq!(limits, json!({"enforce": true, "percent": 5, "latency_ms": 1, "limbo": "real"}));
    let (_, limits) = control.post("/limits", r#"{"limbo": {"purge": 60, "delete": {"secret": 5}}}"#).await;
    let limbo = json!({"delete": {"key": 0, "secret": 5, "certificate": 0}, "recover": 0, "purge": 60});
    assert_eq!(limits["limbo"], limbo);
}

#[tokio::test]
async fn bad_input_is_refused_with_a_reason() {
    let azure = Azure::start();
    let control = Control::of(&azure);
    for (path, body, status, part) in [
        ("/clock", r#"{"advance_seconds": -1}"#, 400, "invalid value"),
        ("/clock", "soon", 400, "expected value"),
        ("/limits", r#"{"latency": 1}"#, 400, "unknown field `latency`"),
        ("/limits", r#"{"limbo": {"restore": 1}}"#, 400, "expected \"off\", \"real\", or seconds"),
        ("/limits", r#"{"percent": 0}"#, 400, "0 is not between 1 and 100"),
        ("/faults", r#"{"action": {"reset": "now"}}"#, 400, "unknown variant `now`"),
        ("/faults", r#"{"action": {"status": {"code": 99}}}"#, 400, "not between 200 and 599"),
        ("/health", "", 405, "does not take POST"),
        ("/nothing", "", 404, "there is no /nothing"),
    ] {
        let (found, answer) = control.post(path, body).await;
        assert_eq!(found, status, "{path} {body}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{path} {body}: {answer}");
    }
    assert_eq!(control.get("/requests?since=x").await.0, 400);
}

#[tokio::test]
async fn shutdown_is_answered_before_it_happens() {
    let azure = Azure::start();
    let control = Control::of(&azure);
    assert_eq!(control.post("/shutdown", "").await, (200, json!({"status": "stopping"})));
    soon(azure.emulator.stopped()).await;
    azure.emulator.stop().unwrap();
    assert!(control.client.get(format!("{}/health", control.url)).send().await.is_err());
}

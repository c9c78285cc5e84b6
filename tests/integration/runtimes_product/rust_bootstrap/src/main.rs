//! A bootstrap made with the published Rust client: it answers, fails, panics, exits and streams on request.

use lambda_runtime::streaming::{channel, Body};
use lambda_runtime::{run, service_fn, Error, FunctionResponse, LambdaEvent};
use serde_json::{json, Value};

async fn handle(event: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Error> {
    let (asked, context) = event.into_parts();
    let wish = asked["do"].as_str().unwrap_or_default();
    println!("asked to {wish}");
    match wish {
        "echo" => Ok(FunctionResponse::BufferedResponse(asked["value"].clone())),
        "context" => Ok(FunctionResponse::BufferedResponse(json!({
            "id": context.request_id,
            "arn": context.invoked_function_arn,
            "name": context.env_config.function_name,
            "mb": context.env_config.memory,
            "deadline_ms": context.deadline,
            "custom": context.client_context.map(|known| known.custom),
        }))),
        "error" => Err("as asked".into()),
        "panic" => panic!("at once"),
        "exit" => std::process::exit(3),
        "stream" => {
            let (mut sender, body) = channel();
            tokio::spawn(async move {
                for part in ["{\"streamed\":", "true}"] {
                    if sender.send_data(part.into()).await.is_err() {
                        return;
                    }
                }
            });
            Ok(FunctionResponse::StreamingResponse(body.into()))
        }
        _ => Err(format!("nothing is known of {wish:?}").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

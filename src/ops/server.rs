//! /healthz, /readyz and /metrics over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Services;

/// Binds an address and serves until the runtime ends. Returns the bound address, which has the
/// port if `listen` has port 0.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(listen: &str, services: Services) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let health = Arc::clone(&services.health);
    let readiness = Arc::clone(&services.health);
    let app = Router::new()
        .route("/healthz", get(move || async move { answer(health.unhealthy()) }))
        .route("/readyz", get(move || async move { answer(readiness.unready()) }))
        .route("/metrics", get(move || async move { scrape(&services) }));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
    Ok(address)
}

fn answer(problem: Option<String>) -> impl IntoResponse {
    match problem {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn scrape(services: &Services) -> impl IntoResponse + use<> {
    // No event marks every change of readiness, so the gauge is set at each scrape.
    let ready = services.health.unready().is_none();
    services.metrics.ready.set(i64::from(ready));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], services.metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sink::message::BundleName;

    #[test]
    fn a_scrape_reports_whether_the_worker_is_ready() {
        let mut config = Config::default();
        config.sink.unready_after = 1;
        let bundle = BundleName { name: "b".into(), version: "1".into() };
        let services = Services::new(&config, &bundle, "16 > 1").unwrap();
        let ready = || {
            let _ = scrape(&services);
            services.metrics.ready.get()
        };
        assert_eq!(ready(), 0, "no partitions yet");
        services.health.joined();
        assert_eq!(ready(), 1);
        services.health.dead_letter();
        assert_eq!(ready(), 0, "only dead letters");
    }
}

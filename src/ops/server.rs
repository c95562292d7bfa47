//! /healthz, /readyz and /metrics over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Health;
use super::metrics::Metrics;

/// Binds the address and serves until the runtime ends. Returns the address bound, for a port of 0.
///
/// # Errors
/// If the address can't be bound.
pub async fn serve(listen: &str, health: Arc<Health>, metrics: Arc<Metrics>) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let (live, seen) = (Arc::clone(&health), Arc::clone(&health));
    let app = Router::new()
        .route("/healthz", get(move || async move { answer(live.unhealthy()) }))
        .route("/readyz", get(move || async move { answer(health.unready()) }))
        .route("/metrics", get(move || async move { scrape(&seen, &metrics) }));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
    Ok(address)
}

fn answer(trouble: Option<String>) -> impl IntoResponse {
    match trouble {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn scrape(health: &Health, metrics: &Metrics) -> impl IntoResponse + use<> {
    // Readiness also ends by itself (too many dead letters in a row), so it is asked for, not told.
    metrics.ready.set(i64::from(health.unready().is_none()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.text())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_scrape_says_whether_the_worker_is_ready() {
        let (health, metrics) = (Health::new(Duration::from_secs(60), 1), Metrics::new("b", "1", "16 > 1").unwrap());
        let ready = || {
            let _ = scrape(&health, &metrics);
            metrics.ready.get()
        };
        assert_eq!(ready(), 0, "not yet in the group");
        health.joined();
        assert_eq!(ready(), 1);
        health.dead_letter();
        assert_eq!(ready(), 0, "nothing but dead letters");
    }
}

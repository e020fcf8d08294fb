//! What other nodes have erased is erased here.

use shared::vector::Vector;

use crate::app::application::App;
use crate::app::erasures::Told;
use crate::app::forget;

/// Another node says so. None: it is nothing that can be.
pub async fn told(app: &App, told: Told) -> Option<()> {
    learn(app, vec![told.read()?]).await;
    Some(())
}

/// What cannot be erased now is tried again with the next connection.
pub async fn learn(app: &App, all: Vec<(Box<str>, Vector)>) {
    if let Err(why) = forget::learn(app, all).await {
        let app = &app.id;
        tracing::error!("application {app}: what was erased on another host still is here: {why}");
    }
}

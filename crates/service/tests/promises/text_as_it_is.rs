//! Names, reasons and contacts are stored as they were written, whatever they hold: escaping is for whoever shows them.

use crate::world::{Do, World, new_key};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn control_characters_and_markup_come_back_unchanged() {
    let world = World::new(40).await;
    for text in [
        "a\r\nSet-Cookie: x=1",
        "\u{1b}[31mred\u{1b}[0m\u{7}",
        "<script>alert(1)</script>&amp;\"'",
        "\u{202e}evil\u{0}\u{200b}",
        "'; DROP TABLE keys; --",
        "Zoë ключ 鍵 🔑",
    ] {
        let app = world
            .run(&Do::CreateApplication(json!({"name": text, "contacts": [text]})))
            .await
            .expect("created")
            .at("/id")
            .parse()
            .unwrap();
        let shown = world.run(&Do::ReadApplication(app)).await.unwrap().json();
        assert_eq!((&shown["name"], &shown["contacts"][0]), (&json!(text), &json!(text)));
        let held = world.held(&new_key(app, text)).await;
        let reason: &'static str = Box::leak(text.to_owned().into_boxed_str());
        world.run(&Do::RevokeKey(held.id, reason)).await.expect("revoked");
        let shown = world.run(&Do::ReadKey(held.id)).await.unwrap().json();
        assert_eq!((&shown["name"], &shown["revoked"]["reason"]), (&json!(text), &json!(text)));
        assert_eq!(world.events().await.pop().unwrap().reason.as_deref(), Some(text));
        let taken = world.run(&Do::CreateApplication(json!({"name": text}))).await;
        assert!(taken.is_err(), "a name is one name, whatever it holds");
    }
}

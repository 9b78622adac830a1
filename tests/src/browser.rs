//! A headless Chromium, driven by `chromedriver` in plain JSON over HTTP (W3C WebDriver). Killed when dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::eventually;
use crate::http::{Connection, Request};

/// How WebDriver names an element in JSON (section 12 of the recommendation).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser session.
pub struct Browser {
    address: SocketAddr,
    session: String,
    driver: Child,
}

impl Browser {
    /// Starts a session that keeps its profile below `profile`.
    ///
    /// # Panics
    /// Where there is no `chromedriver`; `cargo xtask test` installs it.
    pub fn start(profile: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`chromedriver` is needed: `cargo xtask test --only tools` installs it");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut browser = Self { address, session: String::new(), driver };
        eventually("chromedriver", || TcpStream::connect(address).is_ok());
        let arguments = [
            "--headless=new".to_owned(),
            // CI runs as root in a container, where Chromium's own sandbox cannot be made.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
        } } });
        let started = browser.call("POST", "/session", &wanted);
        browser.session = started["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut request = Request::new(method, path);
        if method == "POST" {
            request = request.json(body);
        }
        let reply = Connection::open(self.address).exchange(&request);
        (reply.status, reply.json()["value"].clone())
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, value) = self.ask(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {value}");
        value
    }

    fn act(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.act("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Shows pages as on a screen of this width, in the dark scheme or the light one.
    pub fn look(&self, width_px: u32, is_dark: bool) {
        let screen = json!({ "width": width_px, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Opens an address.
    pub fn open(&self, url: &str) {
        self.act("POST", "/url", &json!({ "url": url }));
    }

    /// Leaves for an empty page: what comes next is loaded anew, even where only its fragment differs.
    pub fn leave(&self) {
        self.open("about:blank");
    }

    /// What stands in the address bar.
    pub fn address_shown(&self) -> String {
        self.act("GET", "/url", &json!({})).as_str().unwrap().to_owned()
    }

    fn element(&self, css: &str) -> String {
        let found = self.act("POST", "/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().expect(css).to_owned()
    }

    /// The text that an element shows; empty where it is hidden.
    pub fn text(&self, css: &str) -> String {
        let element = self.element(css);
        self.act("GET", &format!("/element/{element}/text"), &json!({})).as_str().unwrap().to_owned()
    }

    /// The text that an element shows, where it is there: between two pages it may not be.
    pub fn text_now(&self, css: &str) -> Option<String> {
        let path = |path: &str| format!("/session/{}/element{path}", self.session);
        let (status, found) = self.ask("POST", &path(""), &json!({ "using": "css selector", "value": css }));
        let element = found[ELEMENT].as_str().filter(|_| status == 200)?;
        let (status, text) = self.ask("GET", &path(&format!("/{element}/text")), &json!({}));
        text.as_str().filter(|_| status == 200).map(str::to_owned)
    }

    /// Clicks an element.
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.act("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Clicks an element twice, as fast as a hand does.
    pub fn double_click(&self, css: &str) {
        let element = self.element(css);
        let origin = json!({ ELEMENT: element });
        let press = |kind: &str| json!({ "type": kind, "button": 0 });
        let mut actions = vec![json!({ "type": "pointerMove", "origin": origin, "x": 0, "y": 0 })];
        for _ in 0..2 {
            actions.extend([press("pointerDown"), press("pointerUp")]);
        }
        let pointer = json!({ "type": "pointer", "id": "mouse", "actions": actions });
        self.act("POST", "/actions", &json!({ "actions": [pointer] }));
    }

    /// The tab that is shown.
    pub fn tab(&self) -> String {
        self.act("GET", "/window", &json!({})).as_str().unwrap().to_owned()
    }

    /// Opens another tab, and shows it.
    pub fn new_tab(&self) -> String {
        let opened = self.act("POST", "/window/new", &json!({ "type": "tab" }));
        let tab = opened["handle"].as_str().unwrap().to_owned();
        self.show(&tab);
        tab
    }

    /// Shows a tab.
    pub fn show(&self, tab: &str) {
        self.act("POST", "/window", &json!({ "handle": tab }));
    }

    /// Types into a field, in the place of what stood there.
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.act("POST", &format!("/element/{element}/clear"), &json!({}));
        self.act("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Goes back to the page before.
    pub fn back(&self) {
        self.act("POST", "/back", &json!({}));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.act("POST", "/refresh", &json!({}));
    }

    /// Runs no script of a page any more, or again.
    pub fn without_scripts(&self, is_without: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": is_without }));
    }

    /// Whether an element can be used.
    pub fn is_enabled(&self, css: &str) -> bool {
        let element = self.element(css);
        self.act("GET", &format!("/element/{element}/enabled"), &json!({})).as_bool().unwrap()
    }

    /// The value of a script's `return`.
    pub fn run(&self, script: &str) -> Value {
        self.act("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a script hands to the function that is its last argument.
    pub fn run_async(&self, script: &str) -> Value {
        self.act("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Lines of one of its logs since they were asked for last: `browser` or `performance`.
    pub fn log(&self, kind: &str) -> Vec<String> {
        let lines = self.act("POST", "/se/log", &json!({ "type": kind }));
        lines
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Keeps a picture of the whole page as PNG, beyond what the window shows.
    pub fn picture(&self, path: &Path) {
        let shown = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(shown["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The driver ends the browser's own processes, which would outlive it. Nobody is told where it cannot.
            let end = Request::new("DELETE", &format!("/session/{}", self.session));
            let _ = Connection::open(self.address).try_exchange(&end);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

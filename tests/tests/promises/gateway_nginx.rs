//! nginx with `docs/gateways/nginx.conf` passes what Keyward accepts, refuses what it refuses, and lets nothing through without a
//! verdict; the key itself never reaches the service.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use keyward_e2e::admin::revoke;
use keyward_e2e::{Connection, Keyward, Reply, Request, eventually, programs};

/// A service that answers with the head that it received.
fn echo_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", head.len());
    let _ = stream.write_all(&head);
}

/// A running nginx, killed when dropped.
struct Nginx {
    address: SocketAddr,
    child: Child,
}

impl Nginx {
    fn start(folder: &Path, keyward: SocketAddr, service: SocketAddr) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let example = std::fs::read_to_string(programs::root().join("docs/gateways/nginx.conf")).unwrap();
        let mut configuration = example;
        for (written, real) in [("3000", keyward), ("9000", service), ("8080", address)] {
            let written = format!("127.0.0.1:{written};");
            assert_eq!(configuration.matches(&written).count(), 1, "{written}");
            configuration = configuration.replace(&written, &format!("{real};"));
        }
        let path = folder.join("nginx.conf");
        std::fs::write(&path, configuration).unwrap();
        let globals = format!("daemon off; pid {}/nginx.pid; error_log {0}/nginx.log;", folder.display());
        let child = Command::new("nginx")
            .args(["-p", &folder.display().to_string(), "-c", &path.display().to_string(), "-g", &globals])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`nginx` is needed: `cargo xtask test --only tools` installs it");
        eventually("nginx", || TcpStream::connect(address).is_ok());
        Self { address, child }
    }

    fn ask(&self, request: &Request) -> Reply {
        Connection::open(self.address).exchange(request)
    }

    fn order(&self, token: &str) -> Reply {
        self.ask(&Request::get("/orders/1").bearer(token).field("Keyward-Key-Id", "key_forged"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master passes a polite end on to its workers; a killed one would leave them behind.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn it_passes_refuses_and_never_guesses() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let reader = keyward.holder(&application, &["orders:read"]);
    let writer = keyward.holder(&application, &["orders:write"]);
    let nginx = Nginx::start(keyward.folder(), keyward.address(), echo_service());

    let passed = nginx.order(&reader.token).expect(200).text();
    let expected = [("Key-Id", reader.id.as_str()), ("Application", &application), ("Scopes", "orders:read")];
    for (name, value) in expected {
        assert!(passed.contains(&format!("Keyward-{name}: {value}\r\n")), "{name}: {passed}");
    }
    assert!(
        !passed.contains(&reader.token) && !passed.contains("key_forged"),
        "the service sees who, not the key"
    );

    let refused = nginx.ask(&Request::get("/orders/1")).expect(401);
    assert_eq!(refused.field("www-authenticate"), Some("Bearer realm=\"keyward\""));
    nginx.order(&writer.token).expect(403);
    nginx.order("kw_live_nonsense").expect(401);

    keyward.as_root(revoke(&reader.id)).expect(200);
    nginx.order(&reader.token).expect(401);

    keyward.kill();
    let silent = nginx.order(&writer.token).expect(503);
    assert_eq!((silent.field("retry-after"), silent.field("cache-control")), (Some("1"), Some("no-store")));
}

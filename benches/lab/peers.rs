//! Well-known proxies, for comparison. Each routes by a static map of all sessions, made before it starts.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use super::{program::Program, servers::Servers};

/// nginx with a static map from session to server, two workers, pooled connections. `None` if not installed.
pub(crate) fn nginx(servers: &Servers, directory: &Path) -> Option<Program> {
    let address = free_address();
    let mut config = format!(
        "daemon off; worker_processes 2; error_log {dir}/nginx.err error; pid {dir}/nginx.pid;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; tcp_nodelay on; keepalive_requests 1000000000; proxy_http_version 1.1;
          client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
          uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
          proxy_set_header Connection \"\"; proxy_set_header Host $host;
          map_hash_max_size 65536; map_hash_bucket_size 128;\n",
        dir = directory.display()
    );
    for server in &servers.addresses {
        config += &format!(
            "upstream u{} {{ server {server}; keepalive 128; keepalive_requests 1000000000; }}\n",
            server.port()
        );
    }
    config += "map $sid $to {\n";
    for (session, server) in servers.sessions() {
        config += &format!("{session} u{};\n", server.port());
    }
    config += &format!(
        "}} server {{ listen {address} backlog=4096 reuseport;
           location ~ ^/session/(?<sid>ses_[^/]+) {{ proxy_pass http://$to; }}
           location / {{ proxy_pass http://u{}; }} }} }}",
        servers.addresses[0].port()
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory).arg("-c").arg(&file);
    start("nginx", address, &mut command)
}

/// haproxy with a static map from session to server, two threads. `None` if not installed.
pub(crate) fn haproxy(servers: &Servers, directory: &Path) -> Option<Program> {
    let address = free_address();
    let map = directory.join("haproxy.map");
    let lines = servers.sessions().into_iter();
    let lines = lines.map(|(session, server)| format!("{session} b{}\n", server.port()));
    fs::write(&map, lines.collect::<String>()).unwrap();
    let mut config = format!(
        "global\n nbthread 2\n maxconn 4096\ndefaults\n mode http\n timeout connect 5s\n timeout client 300s\n \
         timeout server 300s\n http-reuse always\nfrontend f\n bind {address}\n use_backend \
         %[path,field(3,/),map({},b{})]\n",
        map.display(),
        servers.addresses[0].port()
    );
    for server in &servers.addresses {
        config += &format!("backend b{}\n server s {server}\n", server.port());
    }
    let file = directory.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-q").arg("-f").arg(&file);
    start("haproxy", address, &mut command)
}

fn start(name: &'static str, address: SocketAddr, command: &mut Command) -> Option<Program> {
    let child = command.stdout(Stdio::null()).spawn().ok()?;
    Some(Program::started(name, address, child).once_answering("/global/health"))
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

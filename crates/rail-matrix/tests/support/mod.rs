//! Reports and documents as nodes and programs write them.
#![allow(dead_code, reason = "no test uses all of it")]

use rail_matrix::read::{HostReport, ReportKind};
use rig::End;
use serde_json::{Value, json};

/// A device, written `node:device`.
pub fn end(text: &str) -> End {
    let (node, device) = text.split_once(':').expect("a node and a device");
    End {
        node: node.to_owned(),
        device: device.to_owned(),
    }
}

/// A Mac whose Thunderbolt port `n` is interface `en{n+1}`.
pub fn mac(name: &str, buses: &[Value]) -> HostReport {
    let ports: String = (1..=5)
        .map(|n| {
            format!(
                "\nHardware Port: Thunderbolt {n}\nDevice: en{}\nEthernet Address: 36:00:00:00:00:0{n}\n",
                n + 1
            )
        })
        .collect();
    let fixed = "\nHardware Port: Ethernet\nDevice: en0\n\nHardware Port: Wi-Fi\nDevice: en1\n\
                 \nHardware Port: Thunderbolt Bridge\nDevice: bridge0\n\nVLAN Configurations\n";
    HostReport {
        name: name.to_owned(),
        texts: vec![
            (
                ReportKind::SystemProfiler,
                json!({"SPThunderboltDataType": buses}).to_string().into(),
            ),
            (ReportKind::Networksetup, format!("{fixed}{ports}").into()),
        ],
    }
}

/// The bus of a port: a domain, with a speed and connected devices.
pub fn bus(port: u32, domain: &str, speed: &str, items: &[Value]) -> Value {
    json!({
        "_name": format!("thunderboltusb4_bus_{port}"),
        "device_name_key": "Mac Studio",
        "domain_uuid_key": domain,
        "receptacle_1_tag": {
            "receptacle_id_key": port.to_string(),
            "current_speed_key": speed,
            "link_status_key": "0x2",
            "receptacle_status_key": "receptacle_connected",
        },
        "_items": items,
    })
}

pub fn peer(domain: &str) -> Value {
    json!({"_name": "node", "device_name_key": "Mac16,9", "domain_uuid_key": domain})
}

pub fn with(mut host: HostReport, kind: ReportKind, text: &str) -> HostReport {
    host.texts.retain(|(of, _)| *of != kind);
    host.texts.push((kind, text.into()));
    host
}

pub fn linux(name: &str, rdma: Value, addresses: &[(&str, &str, u8)]) -> HostReport {
    let interface = |&(netdev, ip, prefix): &(&str, &str, u8)| {
        json!({
            "ifindex": 1, "ifname": netdev, "flags": ["UP"], "operstate": "UP",
            "addr_info": [
                {"family": "inet6", "local": "fe80::1", "prefixlen": 64},
                {"family": "inet", "local": ip, "prefixlen": prefix, "scope": "global"},
            ],
        })
    };
    let interfaces: Vec<_> = addresses.iter().map(interface).collect();
    HostReport {
        name: name.to_owned(),
        texts: vec![
            (ReportKind::RdmaLink, rdma.to_string().into()),
            (ReportKind::IpAddress, json!(interfaces).to_string().into()),
        ],
    }
}

pub fn rdma(device: &str, netdev: &str, state: &str) -> Value {
    json!({
        "ifindex": 0, "ifname": device, "port": 1, "state": state,
        "physical_state": "LINK_UP", "netdev": netdev, "netdev_index": 2,
    })
}

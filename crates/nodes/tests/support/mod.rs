//! Answers of nodes, in the shapes of their tools.
#![allow(dead_code, reason = "no test uses all of it")]

use nodes::{Answer, Said};
use serde_json::json;

/// The texts of a node, by section.
#[derive(Clone)]
pub struct Texts {
    pub host: &'static str,
    texts: Vec<(String, Result<String, String>)>,
    pub asked: f64,
    pub answered: f64,
    pub late: bool,
}

impl Texts {
    fn new(host: &'static str) -> Self {
        let texts = Self {
            host,
            texts: vec![],
            asked: 1000.0,
            answered: 1003.5,
            late: false,
        };
        texts
            .with("clock", "1000.250")
            .with("clock-after", "1003.250")
            .with("processors", "16")
            .with("jobs", "")
            .with(
                "disk",
                "writable\nFilesystem 1024-blocks Used Available Capacity Mounted on\n\
                 /dev/disk3s5 971350180 400000000 571350180    42%    /System/Volumes/Data",
            )
    }

    /// The same with another text of a tool.
    pub fn with(self, name: &str, text: &str) -> Self {
        self.set(name, Ok(text.to_owned()))
    }

    /// The same where a tool fails with this line.
    pub fn without(self, name: &str, why: &str) -> Self {
        self.set(name, Err(why.to_owned()))
    }

    /// The same with another word in a tool's text.
    pub fn edit(self, name: &str, from: &str, to: &str) -> Self {
        let (_, text) = self.texts.iter().find(|(of, _)| of == name).unwrap();
        let text = text.clone().unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        self.with(name, &text.replace(from, to))
    }

    fn set(mut self, name: &str, text: Result<String, String>) -> Self {
        self.texts.retain(|(of, _)| of != name);
        self.texts.push((name.to_owned(), text));
        self
    }

    pub fn printed(&self) -> String {
        let section = |(name, text): &(String, Result<String, String>)| match text {
            Ok(text) => {
                let lines: String = text.lines().map(|line| format!("|{line}\n")).collect();
                format!(">{name}\n{lines}<0\n")
            }
            Err(why) => format!(">{name}\n<127\n!{why}\n"),
        };
        self.texts.iter().map(section).collect()
    }

    /// The answer of the node of the same name.
    pub fn answer(&self) -> Answer {
        Answer {
            host: self.host.to_owned(),
            nodes: vec![self.host.to_owned()],
            said: Ok(Said {
                text: self.printed(),
                asked: self.asked,
                answered: self.answered,
                late: self.late,
            }),
        }
    }
}

/// One of two Macs that three cables join, `side` 1 or 2. Port `n` is `en{n+1}`, and the
/// cables join equal ports.
pub fn mac(host: &'static str, side: usize) -> Texts {
    let bus = |port: usize| {
        json!({
            "_name": format!("thunderboltusb4_bus_{port}"),
            "device_name_key": "Mac mini",
            "domain_uuid_key": format!("{side}-{port}"),
            "receptacle_1_tag": {
                "receptacle_id_key": port.to_string(),
                "current_speed_key": "80 Gb/s",
                "receptacle_status_key": "receptacle_connected",
            },
            "_items": [{
                "domain_uuid_key": format!("{}-{port}", 3 - side),
                "device_name_key": "Mac16,11",
                "services_title": [{"protocol_id_key": 64087}],
            }],
        })
    };
    let ports = 1..=3;
    let buses: Vec<_> = ports.clone().map(bus).collect();
    let hardware: String = ports
        .clone()
        .map(|port| {
            format!(
                "Hardware Port: Thunderbolt {port}\nDevice: en{}\n\n",
                port + 1
            )
        })
        .collect();
    let interface = |port: usize| {
        format!(
            "en{}: flags=8863<UP,BROADCAST,SMART,RUNNING> mtu 1500\n\
             \tinet 10.0.{port}.{side} netmask 0xfffffffc broadcast 10.0.{port}.3\n\
             \tstatus: active\n",
            port + 1
        )
    };
    let interfaces: String = ports.clone().map(interface).collect();
    let listed: String = ports
        .clone()
        .map(|port| format!("    rdma_en{}        \t000000000000000{port}\n", port + 1))
        .collect();
    let device = |port: usize| {
        format!(
            "hca_id:\trdma_en{}\n\ttransport:\t\t\tThunderbolt (5)\n\tphys_port_cnt:\t\t\t1\n\
             \t\tport:\t1\n\t\t\tstate:\t\t\tPORT_ACTIVE (4)\n\t\t\tmax_mtu:\t\t4096 (5)\n\
             \t\t\tGID[  0]:\t\tfe80:0000:0000:0000:0000:5eff:fe00:530{port}\n\
             \t\t\tGID[  1]:\t\t::ffff:10.0.{port}.{side}, RoCE v2\n\n",
            port + 1
        )
    };
    let devices: String = ports.map(device).collect();
    Texts::new(host)
        .with("uname", "Darwin arm64")
        .with(
            "sw_vers",
            "ProductName:\t\tmacOS\nProductVersion:\t\t26.2\nBuildVersion:\t\t25C56",
        )
        .with(
            "sysctl",
            "machdep.cpu.brand_string: Apple M4 Pro\nhw.memsize: 68719476736\nhw.model: Mac16,11",
        )
        .with("ports", &devices)
        .with("battery", "Now drawing from 'AC Power'")
        .with(
            "settings",
            "System-wide power settings:\nCurrently in use:\n standby              0\n lowpowermode         0",
        )
        .with(
            "heat",
            "Note: No thermal warning level has been recorded\n\
             Note: No performance warning level has been recorded\n\
             Note: No CPU power status has been recorded",
        )
        .with("rdma_ctl.txt", "enabled")
        .with("networksetup.txt", &hardware)
        .with("ifconfig.txt", &interfaces)
        .with(
            "ibv_devices.txt",
            &format!("    device          \t   node GUID\n    ------          \t----------------\n{listed}"),
        )
        .with(
            "system_profiler.json",
            &json!({"SPThunderboltDataType": buses}).to_string(),
        )
}

/// One of two Linux hosts that one cable joins.
pub fn linux(host: &'static str, side: usize) -> Texts {
    let at = "/sys/class/infiniband/mlx5_0/ports/1";
    Texts::new(host)
        .with("uname", "Linux x86_64")
        .with("os", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"")
        .with("chip", "model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz")
        .with("machine", "PowerEdge R750")
        .with("memory", "MemTotal:       263856164 kB\nMemAvailable:   250000000 kB")
        .with(
            "ports",
            &format!(
                "{at}/state:4: ACTIVE\n\
                 {at}/gids/3:0000:0000:0000:0000:0000:ffff:0a00:010{side}\n\
                 {at}/gids/0:fe80:0000:0000:0000:0000:5eff:fe00:5301"
            ),
        )
        .with(
            "battery",
            "/sys/class/power_supply/AC/type:Mains\n/sys/class/power_supply/AC/online:1",
        )
        .with("settings", "")
        .with(
            "heat",
            "/sys/class/thermal/thermal_zone0/temp:41000\n/sys/class/thermal/thermal_zone1/temp:52500",
        )
        .with("holders", "")
        .with(
            "rdma_link.json",
            r#"[{"ifname":"mlx5_0","port":1,"state":"ACTIVE","netdev":"enp1s0"}]"#,
        )
        .with(
            "ip_address.json",
            &format!(
                r#"[{{"ifname":"enp1s0","addr_info":[{{"family":"inet","local":"10.0.1.{side}","prefixlen":30}}]}}]"#
            ),
        )
        .with("rates.txt", &format!("{at}/rate:100 Gb/sec (4X EDR)"))
}

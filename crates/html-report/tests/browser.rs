//! The page as a browser shows it, in light, in dark and on a phone. Without a browser
//! nothing is tested, and the test says so.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use html_report::{Inputs, page};
use serde_json::{Value, json};

const PATCHED: &str = include_str!("data/patched.json");

/// Looked for in this order. `RAILS_BROWSER` names another.
const BROWSERS: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// A browser on a machine that does much else is slow. One that is done ends the wait.
const PATIENCE: Duration = Duration::from_secs(300);

/// The height of every picture, in CSS pixels: more than the page needs.
const TALL: u32 = 9000;
const WIDE: u32 = 1200;
/// The narrowest window that a browser opens.
const NARROW: u32 = 500;

const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
const DARK: &str = "--blink-settings=preferredColorScheme=0";

/// What a script finds out about a page and writes into it.
const PROBE: &str = r#"<pre id="probe"></pre><script>
const box = it => { const r = it.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; };
const root = document.documentElement;
const overflow = [...document.querySelectorAll("body *")].filter(it =>
  !it.closest(".scroll") && !it.closest("svg") && it.getBoundingClientRect().right > innerWidth + 1);
const letters = [...document.querySelectorAll("figure svg text")].filter(it =>
  it.getBoundingClientRect().height < 9);
const beyond = [...document.querySelectorAll("figure svg text")].filter(it => {
  const t = it.getBoundingClientRect(), f = it.closest("figure").getBoundingClientRect();
  return t.left < f.left || t.right > f.right || t.top < f.top || t.bottom > f.bottom; });
document.getElementById("probe").textContent = JSON.stringify({
  height: document.body.getBoundingClientRect().height,
  wide: root.scrollWidth, window: innerWidth,
  overflow: overflow.map(it => it.outerHTML.slice(0, 200)),
  letters: letters.length, beyond: beyond.map(it => it.textContent),
  panels: [...document.querySelectorAll("figure > svg")].map(box),
  page: getComputedStyle(document.body).backgroundColor,
  surface: getComputedStyle(document.querySelector("figure")).backgroundColor,
  ring: getComputedStyle(document.querySelector(".f-series-1")).fill,
  bench: JSON.parse(document.getElementById("bench").textContent).schema,
});
</script>"#;

struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// Pixels as red, green and blue.
struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

impl Browser {
    /// A browser that runs here, or why there is none.
    fn find() -> Result<Self, String> {
        let named = env::var_os("RAILS_BROWSER").map(PathBuf::from);
        let folders = env::var_os("PATH").unwrap_or_default();
        let in_path = |name: &&str| {
            let mut places = env::split_paths(&folders).map(|folder| folder.join(name));
            places.find(|place| place.is_file())
        };
        let found = named.or_else(|| BROWSERS.iter().find_map(in_path));
        let program = found.ok_or(format!("none of {} is in PATH", BROWSERS.join(", ")))?;
        let folder = tempfile::tempdir().unwrap();
        let browser = Self { program, folder };
        let page = browser.file("first.html", "<p id=here>here</p>");
        match browser.dom(&page, NARROW, LIGHT) {
            Ok(dom) if dom.contains("id=\"here\"") => Ok(browser),
            Ok(dom) => Err(format!("{} shows {dom:?}", browser.program.display())),
            Err(why) => Err(format!("{} does not run: {why}", browser.program.display())),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, page: &Path, width: u32, scheme: &str, more: &str) -> Result<String, String> {
        let profile = tempfile::tempdir_in(self.folder.path()).unwrap();
        let out = profile.path().join("stdout");
        let err = profile.path().join("stderr");
        let mut child = Command::new(&self.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-sync",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args([
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                scheme,
                more,
            ])
            .arg(format!("--window-size={width},{TALL}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&err).unwrap())
            .spawn()
            .map_err(|error| error.to_string())?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err(format!("it is not done after {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(50));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        match status.success() {
            true => Ok(read(&out)),
            false => Err(format!("{status}: {}", read(&err))),
        }
    }

    /// The document after its scripts.
    fn dom(&self, page: &Path, width: u32, scheme: &str) -> Result<String, String> {
        self.run(page, width, scheme, "--dump-dom")
    }

    /// What [`PROBE`] finds out about a page.
    fn probe(&self, html: &str, width: u32, scheme: &str) -> Value {
        // The page's own policy lets no script run.
        let open = html
            .replace("Content-Security-Policy", "none")
            .replace("</body>", PROBE);
        let dom = self
            .dom(&self.file("probe.html", &open), width, scheme)
            .unwrap();
        let (_, rest) = dom.split_once("<pre id=\"probe\">").unwrap();
        let (json, _) = rest.split_once("</pre>").unwrap();
        let json = json
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json:?}"))
    }

    fn picture(&self, html: &str, width: u32, scheme: &str) -> Picture {
        let to = self.folder.path().join("page.png");
        let page = self.file("page.html", html);
        let shot = format!("--screenshot={}", to.display());
        self.run(&page, width, scheme, &shot).unwrap();
        Picture::read(&to)
    }
}

impl Picture {
    fn read(path: &Path) -> Self {
        let mut decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let size = info.color_type.samples();
        assert!(size >= 3, "{:?}", info.color_type);
        let bytes = &bytes[..info.buffer_size()];
        Self {
            width: info.width,
            height: info.height,
            pixels: bytes.chunks(size).map(|it| [it[0], it[1], it[2]]).collect(),
        }
    }

    /// The pixels in a rectangle, as `PROBE` has it.
    fn part(&self, area: &Value) -> Vec<[u8; 3]> {
        let side = |k: usize| area[k].as_f64().unwrap() as u32;
        let (left, top) = (side(0), side(1));
        let (right, bottom) = (left + side(2), top + side(3));
        assert!(
            right <= self.width && bottom <= self.height,
            "{area} is not in the picture"
        );
        let rows = (top..bottom).flat_map(|y| (left..right).map(move |x| y * self.width + x));
        rows.map(|at| self.pixels[at as usize]).collect()
    }
}

/// `rgb(1, 2, 3)`.
fn colour(value: &Value) -> [u8; 3] {
    let text = value.as_str().unwrap();
    let inside = text.trim_start_matches("rgb(").trim_end_matches(')');
    let parts: Vec<u8> = inside.split(", ").map(|it| it.parse().unwrap()).collect();
    parts.try_into().unwrap()
}

/// A report with data for every figure.
fn full() -> (String, String) {
    let mut report: Value = serde_json::from_str(PATCHED).unwrap();
    for cell in report["cells"].as_array_mut().unwrap() {
        let parts = |size: f64| {
            json!({ "compute": 0.45 * size, "fence": 0.1 * size, "cable": 0.25 * size,
                "wait": 0.1 * size, "host": 0.05 * size })
        };
        let ttft = cell["ttft_ms"]["median"].as_f64().unwrap();
        let token = 1e3 / cell["generation_tps"]["median"].as_f64().unwrap();
        cell["tpot_ms"] = json!({ "median": token, "samples": [] });
        cell["time_split"] = json!({
            "runs": 3, "cost": { "without": 0.6, "apart": 1.7 },
            "prefill_ms": [parts(ttft), parts(ttft)], "decode_ms": [parts(token), parts(token)],
        });
    }
    let row = |cables: u32, power: u32| {
        json!({ "mlx": "0.31.2", "series": "patched", "op": "all_sum", "backend": "ring", "ranks": 2,
            "cables": cables, "frames": "small", "bytes": 1 << power, "verdict": "pass",
            "busbw": 2e6 * f64::from(power * cables), "line_share": 0.04 * f64::from(power) })
    };
    let rows: Vec<_> = (1..=3)
        .flat_map(|n| (12..=24).map(move |k| row(n, k)))
        .collect();
    let collectives = json!({ "schema": "mlx-rails/collectives/1", "rows": rows });
    (report.to_string(), collectives.to_string())
}

#[test]
fn a_browser_shows_every_panel_in_light_in_dark_and_on_a_phone() {
    let browser = match Browser::find() {
        Ok(browser) => browser,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let (bench, collectives) = full();
    let html = page(&Inputs {
        bench: &bench,
        against: Some(&bench),
        collectives: Some(&collectives),
    })
    .unwrap();

    let mut grounds = Vec::new();
    for (width, scheme) in [(WIDE, LIGHT), (WIDE, DARK), (NARROW, DARK)] {
        let case = format!("{width} {scheme}");
        let probe = browser.probe(&html, width, scheme);
        // Nothing is wider than the window but tables, which scroll by themselves.
        assert_eq!(probe["overflow"], json!([]), "{case}");
        assert!(
            probe["wide"].as_u64() <= probe["window"].as_u64(),
            "{case}: {probe}"
        );
        assert_eq!(
            probe["letters"],
            json!(0),
            "{case}: letters too small to read"
        );
        assert_eq!(
            probe["beyond"],
            json!([]),
            "{case}: words out of their figures"
        );
        assert_eq!(probe["bench"], json!("mlx-rails/bench/2"), "{case}");

        let picture = browser.picture(&html, width, scheme);
        let [ground, surface, ring] = ["page", "surface", "ring"].map(|it| colour(&probe[it]));
        assert_eq!(picture.pixels[0], ground, "{case}");
        assert!(
            probe["height"].as_f64() < Some(f64::from(TALL)),
            "{case}: {}",
            probe["height"]
        );
        let panels = probe["panels"].as_array().unwrap();
        // Four figures against cables, two time splits, four of bytes, one operation.
        assert_eq!(panels.len(), 11, "{case}");
        for (k, panel) in panels.iter().enumerate() {
            let part = picture.part(panel);
            let share = |is: &dyn Fn(&[u8; 3]) -> bool| {
                part.iter().filter(|pixel| is(pixel)).count() as f64 / part.len() as f64
            };
            let (empty, inked) = (share(&|it| *it == surface), share(&|it| *it == ring));
            assert!(empty > 0.3, "{case}, panel {k}: {empty} is ground");
            assert!(empty < 0.99, "{case}, panel {k} is blank");
            assert!(
                inked > 0.0005,
                "{case}, panel {k}: {inked} is of the first series"
            );
        }
        grounds.push(ground);
    }
    let light = |[red, green, blue]: [u8; 3]| red > 200 && green > 200 && blue > 200;
    assert_eq!(
        grounds.iter().map(|it| light(*it)).collect::<Vec<_>>(),
        [true, false, false]
    );
}

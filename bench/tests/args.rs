//! The command line: its help, its defaults, and what it says of bad input.

mod support;

use clap::{CommandFactory, Parser};
use support::{Cli, args};

#[test]
fn the_help_teaches() {
    insta::assert_snapshot!("help", Cli::command().render_long_help());
}

#[test]
fn the_defaults_sweep_everything() {
    let bench = args("");
    assert_eq!(bench.model.name, "qwen3-wide");
    let plan = rail_bench::Plan::from_args(&bench).unwrap();
    assert_eq!(plan.cells.len(), 8);
    assert!(plan.settings.repeat > 1 && plan.settings.warmup > 0);
}

#[test]
fn short_and_long_flags_are_those_of_the_contract() {
    let long = args(
        "--cables 1..3 --strategy tp,pp --backend mesh,ring --mlx 0.31.2 --series stock \
         --model qwen3-tiny --prompt-tokens 9 --gen-tokens 8 --repeat 7 --warmup 0 --frames big \
         --timeout 2.5 --format json --output out --rig rig.toml",
    );
    assert_eq!(
        (
            long.prompt_tokens,
            long.gen_tokens,
            long.repeat,
            long.warmup
        ),
        (9, 8, 7, 0)
    );
    assert_eq!(long.timeout.as_millis(), 2500);
    assert!(!long.no_preflight && args("--no-preflight").no_preflight);
    let short = args("-p 9 -g 8 -r 7");
    assert_eq!(
        (short.prompt_tokens, short.gen_tokens, short.repeat),
        (9, 8, 7)
    );
}

#[test]
fn bad_values_are_named_with_the_remedy() {
    let refuse = |line: &str| {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Cli::try_parse_from(words).unwrap_err().to_string()
    };
    let cases = [
        ("-g 0", "'0' for '--gen-tokens <N>': write 1 or more"),
        ("-p 0", "'0' for '--prompt-tokens <N>': write 1 or more"),
        ("-p many", "write a whole number, 1 or more"),
        ("-r 0", "'0' for '--repeat <N>'"),
        ("--timeout 0", "write seconds above 0, such as 20"),
        ("--timeout inf", "write seconds above 0"),
        ("--cables 0", "a cell needs at least 1 cable"),
        ("--cables 3..1", "write the smaller number first"),
        ("--cables two", "write numbers of cables as 3, 1,3 or 1..3"),
        (
            "--model gpt",
            "[possible values: qwen3-wide, qwen3-wide-4bit, qwen3-tiny]",
        ),
        ("--strategy single", "[possible values: tp, pp]"),
        ("--backend none", "[possible values: mesh, ring]"),
        ("--series mine", "[possible values: stock, patched]"),
    ];
    for (line, said) in cases {
        let message = refuse(line);
        assert!(message.contains(said), "{line}: {message}");
    }
}

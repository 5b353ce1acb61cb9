use super::{gpu, listing, run};

#[test]
fn json_has_every_adapter_and_the_cpu() {
    let rows = listing();
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(row["number"].as_u64(), (row["kind"] != "cpu").then_some(place as u64), "{row}");
        for key in ["name", "kind", "backend", "driver"] {
            assert!(row[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {row}");
        }
        let cpu = row["kind"] == "cpu";
        assert_eq!(row["capabilities"].is_null(), cpu, "{row}");
        if !cpu {
            let caps = &row["capabilities"];
            for limit in ["max_buffer", "max_binding", "storage_buffers", "workgroup_memory", "workgroup_invocations"] {
                assert!(caps[limit].as_u64().is_some_and(|limit| limit > 0), "{limit} of {row}");
            }
            for feature in ["timestamps", "f16", "subgroups", "cooperative_matrix"] {
                assert!(caps[feature].is_boolean(), "{feature} of {row}");
            }
        }
        // A strategy runs, or there is a reason.
        let strategies = row["strategies"].as_array().unwrap();
        let why = |name: &str| strategies.iter().find(|strategy| strategy["name"] == name).unwrap()["why_not"].clone();
        if row["unusable"].is_null() {
            let (runs, does_not) = if cpu { ("native", "stepwise") } else { ("stepwise", "native") };
            assert!(why(runs).is_null(), "{row}");
            assert!(why(does_not).as_str().unwrap().contains(if cpu { "GPU" } else { "CPU" }), "{row}");
        } else {
            assert!(strategies.iter().all(|strategy| strategy["why_not"] == row["unusable"]), "{row}");
        }
    }
    assert_eq!(rows.iter().filter(|row| row["kind"] == "cpu").count(), 1);
    assert!(rows.iter().any(|row| row["kind"] == gpu()));
}

#[test]
fn text_says_the_same() {
    let text = run(&["adapters"]).succeeded();
    for row in listing() {
        let (name, backend) = (row["name"].as_str().unwrap(), row["backend"].as_str().unwrap());
        let begin = row["number"].as_u64().map_or(format!("{name} — "), |number| format!("{number}: {name} — "));
        assert!(text.lines().any(|line| line.starts_with(&begin) && line.contains(backend)), "{name} in {text}");
    }
    assert!(text.contains("  strategy stepwise: yes\n"));
    assert!(text.contains("  strategy native: no, it is the CPU executor's"));
    assert!(text.contains("CPU — executor, native, "));
    assert!(text.contains("  strategy native: yes\n"));
    assert!(text.contains("  strategy stepwise: no, it dispatches GPU kernels"));
    let auto = text.lines().last().unwrap();
    assert!(auto.starts_with("`auto` takes ") && auto.contains(", because "), "{auto}");
    assert!(!auto.contains("software"), "a software adapter is never taken by itself: {auto}");
}

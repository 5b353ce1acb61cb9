//! Training on sequences of every kind: in order, with documents, in either direction, the batch first.

use std::path::Path;

use super::learn::{Place, content, resumes_to_the_bit};
use super::{gpu, json, path, run};

/// A text in order, whose states go from batch to batch, and begin anew where documents do.
#[test]
fn truncated_back_propagation_resumes_to_the_bit() {
    let place = Place::new();
    let data = place.at("documents.txt");
    let document = |first: char| format!("{first}..........{first};");
    let letters: Vec<char> = ('a'..='h').collect();
    let order = (0..3000usize).map(|place| letters[(place * place + place / 7) % letters.len()]);
    std::fs::write(&data, order.map(document).collect::<String>()).unwrap();
    let task = ["--data", path(&data), "--hidden", "24", "--steps", "6", "--batch", "8", "--patience", "1000"];
    let carried = [&task[..], &["--cell", "gru", "--carry", "--reset-after", ";", "--learn-state"]].concat();
    for device in ["cpu", gpu()] {
        let place = Place::new();
        let said = resumes_to_the_bit(&place, device, &carried, 100);
        assert!(said.contains("model: GRU H=24, resets, learnt initial states, "), "{said}");
        assert!(said.contains("3000 documents that end with \";\""), "{said}");
        let page = std::fs::read_to_string(place.at("whole/index.html")).unwrap();
        assert!(page.contains("batches of 8 sequences of 6 steps, each from where the one before ended"));
        let tensors = content(&place.at("whole/last.safetensors")).0;
        assert!(tensors["optimizer.carried_h"].len() == 4 * 8 * 24 && !tensors.contains_key("optimizer.carried_c"));
        assert!(tensors["optimizer.carried_h"].iter().any(|byte| *byte != 0), "nothing was carried");
    }
    let place = Place::new();
    let whole = place.at("whole");
    resumes_to_the_bit(&place, "cpu", &carried, 100);
    let said = run(&["train", "--resume", "--reset-after", ".", "--out", path(&whole)]).failed(1);
    assert!(said.contains("--reset-after: expected ;, with which the training began, got ."), "{said}");
    let said = run(&["train", "--resume", "--reset-after", "\\n", "--out", path(&whole)]).failed(1);
    assert!(said.contains("began, got \\n "), "{said}");
    let same = ["--carry", "--reset-after", ";", "--learn-state"];
    run(&[&["train", "--resume", "--device", "cpu", "--out", path(&whole)], &same[..]].concat()).succeeded();
    for look in ["flow", "gates"] {
        let out = place.at(look);
        run(&[look, "--device", "cpu", "--model", path(&whole), "--out", path(&out)]).succeeded();
    }
    run(&["eval", "--device", "cpu", path(&whole), "--data", path(&data)]).succeeded();
    let sampled = |prompt: &str| {
        let said = ["sample", path(&whole), "--prompt", prompt, "--length", "60", "--device", "cpu"];
        run(&said).succeeded()
    };
    // What was read before a document does not matter to it.
    assert_eq!(sampled("a..b;c"), sampled("h;c"));
}

/// What options of a layer change about what its values and gradients mean stands on the pages.
#[test]
fn pages_say_what_options_change() {
    let place = Place::new();
    let model = |name: &str, rest: &[&str]| {
        let out = place.at(name);
        let begin = ["train", "--task", "speech", "--hidden", "6", "--updates", "3", "--device", "cpu", "--out"];
        run(&[&begin[..], &[path(&out)], rest].concat()).succeeded();
        out
    };
    let page = |look: &str, model: &Path| {
        let out = place.at("page");
        run(&[look, "--device", "cpu", "--model", path(model), "--out", path(&out)]).succeeded();
        let page = std::fs::read_to_string(out.join("index.html")).unwrap();
        (page, out)
    };
    let lstm = "peephole,coupled,clip_cell=2,zoneout=0.3,zoneout_cell=0.2";
    let lstm = model("lstm", &["--options", lstm]);
    let (gates, _) = page("gates", &lstm);
    for said in [
        "The cell state is clipped at ±2 when it is stored",
        "through peepholes",
        "The input gate is 1 − f",
        "a unit’s h stays as it was with probability 0.3",
        "a unit’s c stays as it was with probability 0.2",
        "time constants are longer by as much",
        "c_made and h_made are what a step makes",
    ] {
        assert!(gates.contains(said), "{said}");
    }
    let (flow, out) = page("flow", &lstm);
    assert!(flow.contains("what stays of a state with zoneout comes past the gates"));
    // Nothing reaches the last cell state, of which h saw another; the steps before it are what is looked at.
    let found = json(&std::fs::read_to_string(out.join("flow.json")).unwrap());
    let last = found.as_array().unwrap().last().unwrap().clone();
    assert!(last["left_at_the_first"].is_number() && last["mostly_direct"].as_u64() > Some(0), "{last}");

    let gru = model("gru", &["--cell", "gru", "--options", "gate=affine:0.2:0.5"]);
    let (gates, _) = page("gates", &gru);
    assert!(gates.contains("another function than one from 0 to 1") && !gates.contains("A cell without gates"));

    let both = model("both", &["--bidirectional", "--layers", "2"]);
    for look in ["gates", "flow"] {
        let (page, out) = page(look, &both);
        assert!(page.contains("LSTM, layer 1, backwards") && page.contains("A layer that goes backwards"), "{look}");
        let found = json(&std::fs::read_to_string(out.join(format!("{look}.json"))).unwrap());
        let ways = |way: &str| found.as_array().unwrap().iter().filter(|one| one["direction"] == way).count();
        assert!(ways("forward") > 0 && ways("forward") == ways("backward"), "{look}");
    }
}

/// A layer in two directions learns and is judged, and the order of axes changes nothing but where numbers lie.
#[test]
fn directions_and_the_order_of_axes() {
    let place = Place::new();
    let speech = ["train", "--task", "speech", "--hidden", "6", "--updates", "30", "--device", "cpu"];
    let train = |out: &str, rest: &[&str]| {
        let out = place.at(out);
        let said = run(&[&speech[..], &["--out", path(&out)], rest].concat()).succeeded();
        (said, content(&out.join("last.safetensors")).0)
    };
    let (said, plain) = train("plain", &[]);
    assert!(said.contains("model: LSTM H=6, "), "{said}");
    let (_, turned) = train("turned", &["--batch-first"]);
    assert!(plain == turned, "the order of axes changes a bit");
    for (direction, outputs) in [("reverse", 6), ("bidirectional", 12)] {
        let (said, tensors) = train(direction, &["--direction", direction, "--batch-first"]);
        assert!(said.contains(&format!("model: LSTM H=6, {direction}, ")), "{said}");
        assert_eq!(tensors["head.weight"].len(), 4 * 9 * outputs);
        assert_eq!(tensors.contains_key("rnn.weight_hh_l0"), direction == "bidirectional");
        assert!(tensors.contains_key("rnn.weight_hh_l0_reverse"));
        let model = place.at(direction);
        run(&["train", "--resume", "--updates", "35", "--device", gpu(), "--out", path(&model)]).succeeded();
        run(&["classify", path(&model), "--device", "cpu"]).succeeded();
        for look in ["flow", "gates", "eval"] {
            let out = place.at(&format!("{look} {direction}"));
            let of: &[&str] = if look == "eval" { &[] } else { &["--model"] };
            run(&[&[look], of, &[path(&model), "--device", "cpu", "--out", path(&out)]].concat()).succeeded();
        }
    }
    let text = place.text(&["--device", "cpu", "--updates", "20", "--out"]);
    let text = |out: &Path, rest: &[&str]| {
        let all: Vec<&str> = text.iter().map(String::as_str).collect();
        let at = all.iter().position(|word| *word == "--out").unwrap();
        run(&[&all[..=at], &[path(out)], &all[at + 1..], rest].concat()).succeeded();
        content(&out.join("last.safetensors")).0
    };
    let [plain, turned] =
        [&[][..], &["--batch-first"]].map(|rest| text(&place.at(&format!("text{}", rest.len())), rest));
    // Of a loss at every step rows are summed in another order.
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    };
    for (name, values) in plain.iter().filter(|(name, _)| name.starts_with("rnn.")) {
        let off = floats(values).into_iter().zip(floats(&turned[name])).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) < 1e-4, "{name}");
    }
}

//! Shaders whose workgroup memory begins as garbage: what they write does not change if it is written before it is read.

/// `source`, whose entry point first fills every array of workgroup memory with NaNs and large numbers.
pub(crate) fn garbled(source: &str) -> String {
    let arrays = source.lines().filter_map(|line| {
        let (name, array) = line
            .strip_prefix("var<workgroup> ")?
            .split_once(": array<")?;
        let (of, length) = array.strip_suffix(">;")?.rsplit_once(", ")?;
        let value = garbage(source, of);
        Some(format!(
            "    for (var i = lane; i < {length}; i += LANES) {{ {name}[i] = {value}; }}\n"
        ))
    });
    let fills: String = arrays.collect();
    assert!(!fills.is_empty(), "no workgroup memory in\n{source}");
    let entry = source.find("fn main(").expect("an entry point");
    let body = ") {\n";
    let begin = entry + source[entry..].find(body).expect("a body") + body.len();
    let (before, after) = source.split_at(begin);
    // A NaN may not be a constant.
    format!(
        "{before}    let garbage = bitcast<f32>(0x7fc12345u + lane);\n{fills}    workgroupBarrier();\n{after}"
    )
}

/// A value of type `of` that nothing reckons with.
fn garbage(source: &str, of: &str) -> String {
    match of {
        "u32" => "0xfffffff1u".into(),
        "f32" => "garbage".into(),
        "vec2<u32>" => "vec2<u32>(0xfffffff1u)".into(),
        "vec2<f32>" | "vec4<f32>" => format!("{of}(garbage)"),
        // Of f16, one or several.
        "Element" => "Element(f16(garbage))".into(),
        name => {
            let opening = format!("struct {name} {{");
            let (_, fields) = source.split_once(&opening).expect("a struct");
            let (fields, _) = fields.split_once('}').expect("its end");
            let fields = fields.lines().map(str::trim);
            let types = fields.filter_map(|line| line.strip_suffix(',')?.split_once(": "));
            let values: Vec<String> = types.map(|(_, of)| garbage(source, of)).collect();
            format!("{name}({})", values.join(", "))
        }
    }
}

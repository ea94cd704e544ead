// The table of `clownfish predict`, with the same columns and the same way of writing numbers and text.

const FIXED_COLUMNS = ["file", "label", "probability", "second", "second_probability", "status", "candidates"];

/** Write all answers as CSV. An answer has file, and note or {probabilities, order, status, candidates}. */
export function formatTable(answers, labels) {
  const taken = new Set([...FIXED_COLUMNS, ...labels]);
  const columns = labels.map((wanted) => {
    let name = wanted;
    while (FIXED_COLUMNS.includes(name) || (name !== wanted && taken.has(name))) name = `class ${name}`;
    taken.add(name);
    return name;
  });
  const rows = [[...FIXED_COLUMNS, ...columns], ...answers.map((answer) => makeRow(answer, labels))];
  return rows.map((row) => `${row.map(formatCell).join(",")}\n`).join("");
}

function makeRow(answer, labels) {
  if (!answer.probabilities) {
    return [answer.file, null, null, null, null, `unusable: ${answer.note}`, null, ...labels.map(() => null)];
  }
  const { probabilities, order, candidates } = answer;
  const [first, second] = order;
  return [
    answer.file,
    labels[first],
    probabilities[first],
    second === undefined ? null : labels[second],
    second === undefined ? null : probabilities[second],
    answer.status,
    candidates.map((number) => labels[number]).join(" | "),
    ...probabilities,
  ];
}

function formatCell(cell) {
  if (cell === null) return "";
  if (typeof cell === "number") return formatNumber(cell);
  const line = cell.replaceAll("\r", "\\r").replaceAll("\n", "\\n");
  const text = /^[=+\-@\t]/.test(line) ? `'${line}` : line; // no spreadsheet shall run it as a formula
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Six digits, as Python's format "g" writes them. */
function formatNumber(number) {
  if (number === 0) return "0";
  const [digits, power] = number.toExponential(5).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 6) return String(Number(number.toPrecision(6)));
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(digits)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

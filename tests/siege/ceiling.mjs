// What `askrd check` says askrd's own memory can come to for its settings.

/** Resolves to `{ ceiling, kept }`: bytes at most, and at most when nobody is connected any more. */
export async function ceiling(askrd) {
  const { code, out, err } = await askrd.cli(['check', '--config', askrd.config]);
  if (code !== 0) throw new Error(`askrd check: ${err}`);
  const bytes = (name) => {
    const found = new RegExp(`^# ${name}: (\\d+) bytes`, 'm').exec(out);
    if (!found) throw new Error(`askrd check does not print "${name}":\n${out}`);
    return Number(found[1]);
  };
  return { ceiling: bytes('memory ceiling'), kept: bytes('memory ceiling without connections') };
}

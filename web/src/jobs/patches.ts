/** Parts of specs and of patches, by dotted path. */

/** The ends of a patch, by dotted path. */
export function leaves(patch: unknown, path = ""): [string, unknown][] {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return [[path, patch]];
  return Object.entries(patch).flatMap(([name, value]) =>
    leaves(value, path ? `${path}.${name}` : name),
  );
}

export function at(spec: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, name) => (value as Record<string, unknown> | null | undefined)?.[name],
      spec,
    );
}

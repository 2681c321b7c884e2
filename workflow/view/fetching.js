// Fetches what the server has. Addresses are relative to the page, so that each of them has the token.

const KEPT = 36; // addresses whose content is kept, so that leafing back is immediate

async function fetchOrExplain(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The viewer does not answer; start it again, and open the address that it prints.");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  throw new Error(error);
}

export async function fetchJson(address, options) {
  return (await fetchOrExplain(address, options)).json();
}

export async function fetchBitmap(address) {
  return createImageBitmap(await (await fetchOrExplain(address)).blob());
}

const kept = new Map();

// Remember the promises of what was fetched for the last slices, but not those of failures, which may be mended.
export function fetchOnce(address, read) {
  if (!kept.has(address)) {
    kept.set(address, read(address));
    kept.get(address).catch(() => kept.delete(address));
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(address);
}

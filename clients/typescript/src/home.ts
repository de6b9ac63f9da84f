// Where this script came from. Relais serves the whole client as one file, for pages that build nothing.

/** The path of that file, below the `api_prefix` if there is one. */
const SERVED = '/v1/client.js';

const address = import.meta.url?.split(/[?#]/, 1)[0];

/** The Relais that this script came from, without a slash at the end; `undefined` where an application brings the client. */
export const servedBy = address?.endsWith(SERVED) ? address.slice(0, -SERVED.length) : undefined;

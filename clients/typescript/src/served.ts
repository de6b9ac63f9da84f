// All that Relais serves as `/v1/client.js`: the client, the elements, and the worker that pages share.
import { serve } from './shared/serve.js';

export * from './elements/index.js';
export * from './index.js';

// One file is a page's script, and begun by it as a shared worker.
if ('SharedWorkerGlobalScope' in globalThis) serve();

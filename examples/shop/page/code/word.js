import { relaisFetch } from '/v1/client.js';

const answer = await relaisFetch('imports', { method: 'POST', body: file });   // it was: fetch
show(await answer.json());

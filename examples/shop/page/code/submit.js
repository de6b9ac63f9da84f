const file = await (await fetch('samples/products.csv')).blob();
const handedIn = await fetch('imports', { method: 'POST', body: file });
const task = await handedIn.json();   // 202: { id, ticket, links: { self, result, events, … } }

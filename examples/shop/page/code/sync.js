const answer = await fetch('imports/now', { method: 'POST', body: file });   // nothing until it is over
if (!answer.ok) throw new Error(`was it done or not? ${answer.status}`);
show(await answer.json());

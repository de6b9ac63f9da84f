let answer;
do answer = await fetch(task.links.result, { headers: { Prefer: 'wait=55' } }); while (answer.status === 202);
show(await answer.json());

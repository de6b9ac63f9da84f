let answer;
do { await pause(2000); answer = await fetch(task.links.result); } while (answer.status === 202);
show(await answer.json());

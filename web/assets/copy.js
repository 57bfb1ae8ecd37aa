// Copies the command beside a button. Without it the command is selected and copied by hand.
document.addEventListener("click", async (e) => {
	const button = e.target.closest("button[data-copy]");
	if (!button) return;
	await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
	button.textContent = button.dataset.copied;
	document.getElementById("said").textContent = button.dataset.copied;
});
// The buttons are of no use where the browser does not copy.
if (navigator.clipboard) document.documentElement.classList.add("copies");

"""Print the prices, and how to look at each again: `python -m tools.prices`, with the package on PYTHONPATH.

What has changed goes into `milvus_vault/model/prices.py`, with the day, and the table that is printed last into
docs/cost.md.
"""

from milvus_vault.model.prices import PRICES, REGION, Price


def table() -> str:
    """Return the prices as the table of docs/cost.md."""
    head = ["| what | USD | for | Region | noted on | published by |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *map(_row, PRICES)])


def _row(price: Price) -> str:
    usd = f"{price.usd:.10f}".rstrip("0")
    return f"| {price.what} | {usd} | {price.per:,} | {REGION} | {price.noted_on} | [{price.service}]({price.page}) |"


def question(price: Price) -> str:
    """Return the command that asks AWS for a price, of anybody who may call pricing:GetProducts."""
    filters = {"regionCode": REGION, "usagetype": price.usage}
    wanted = " ".join(f"Type=TERM_MATCH,Field={field},Value={value}" for field, value in filters.items())
    return f"aws pricing get-products --region us-east-1 --service-code {price.service} --filters {wanted}"


def main() -> None:
    """Print all of it."""
    for price in PRICES:
        print(f"{price.what}: ${price.usd:g} for {price.per:,}, {REGION}, noted on {price.noted_on}")
        print(f"  {price.page}\n  {question(price)}\n")
    print(table())


if __name__ == "__main__":
    main()

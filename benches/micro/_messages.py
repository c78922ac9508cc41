"""The message of the micro benchmarks: an order confirmation, 10 kB in two parts."""

TEXT = "Thank you for your order. It has left our warehouse and is on its way…\n" * 42
ROW = '    <tr><td class="item" align="left">One thing</td><td>12,50 €</td></tr>\n'
HTML = f"<html><body><table>\n{ROW * 92}</table></body></html>\n"
FILE = bytes((i * 2_654_435_761) >> 8 & 255 for i in range(50_000))
FROM = ("Example Shop", "orders@shop.example.com")
TO = ("Zoë Müller", "zoe@example.org")
SUBJECT = "Your order has been shipped"
HEADERS = (
    ("List-Unsubscribe", "<https://shop.example.com/u/0198a1b2c3>"),
    ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
)
MESSAGE_ID = "0198.a1b2c3@shop.example.com"

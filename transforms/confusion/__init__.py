"""Count confusion matrices from predictions; read, write and draw them."""

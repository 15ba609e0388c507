"""What tests share: waiting for conditions, ports, backends that tell what reached them."""
